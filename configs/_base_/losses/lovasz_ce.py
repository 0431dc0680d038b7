# Lovasz-Softmax and cross entropy, one half of each.
loss_decode = [
    dict(type='LovaszSoftmaxLoss', loss_weight=0.5),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce', loss_weight=0.5),
]
