# DLWCE (Taubert et al., Table 1): Dice and class-weighted cross entropy,
# one half of each, so that the weights add up to 1 like those of the scheduled pairs.
loss_decode = [
    dict(
        type='SoftDiceLoss',
        average='micro',
        over='image',
        power=2,
        smooth=1.0,
        eps=1e-5,
        loss_weight=0.5,
    ),
    dict(
        type='WeightedCrossEntropyLoss',
        loss_name='loss_weighted_ce',
        class_weight=dict(type='inverse_frequency', statistics='auto'),
        loss_weight=0.5,
    ),
]
