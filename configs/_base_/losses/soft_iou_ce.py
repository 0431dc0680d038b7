# Soft IoU per class and cross entropy: three quarters and one quarter (Wang et al. 2023,
# JDTLosses); macro, plain probabilities, classes present in the batch.
loss_decode = [
    dict(type='SoftIoULoss', power=1, loss_weight=0.75),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce', loss_weight=0.25),
]
