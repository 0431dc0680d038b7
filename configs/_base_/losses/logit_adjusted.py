# Logits adjusted by the log prior of the training set (Menon et al.).
loss_decode = [dict(type='LogitAdjustedLoss', statistics='auto', tau=1.0)]
