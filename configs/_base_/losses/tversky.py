# Tversky: a false negative costs more than a false positive.
loss_decode = [dict(type='SoftTverskyLoss', alpha=0.3, beta=0.7)]
