# Soft Jaccard per class.
loss_decode = [dict(type='SoftIoULoss')]
