# Soft Dice per class and cross entropy: three quarters and one quarter, as Wang et al. 2023
# (JDTLosses) weigh them; macro, plain probabilities, classes present in the batch.
loss_decode = [
    dict(type='SoftDiceLoss', power=1, loss_weight=0.75),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce', loss_weight=0.25),
]
