# Cross entropy and the difference of predicted and labelled proportions (Liu et al. 2021).
# The factor is that of the authors' Cityscapes runs.
loss_decode = [
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce'),
    dict(type='RegionSizeLoss', loss_weight=5.0),
]
