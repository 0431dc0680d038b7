# Recall loss (Tian et al.), recall of the batch.
loss_decode = [dict(type='RecallLoss')]
