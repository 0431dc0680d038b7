# Loss max-pooling and soft Dice per class, one half of each.
loss_decode = [
    dict(type='LMPLoss', p=1.3, ratio=0.25, loss_weight=0.5),
    dict(type='SoftDiceLoss', power=1, loss_weight=0.5),
]
