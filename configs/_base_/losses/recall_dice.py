# Recall loss and soft Dice per class, one half of each.
loss_decode = [
    dict(type='RecallLoss', loss_weight=0.5),
    dict(type='SoftDiceLoss', power=1, loss_weight=0.5),
]
