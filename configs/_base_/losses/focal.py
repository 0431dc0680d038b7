# Softmax focal loss.
loss_decode = [dict(type='SoftmaxFocalLoss', gamma=2.0)]
