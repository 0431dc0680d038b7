# WDLNWCE (Taubert et al., Table 1): class-weighted Dice -> class-weighted cross entropy,
# naive schedule: a straight line from 30 % to 90 % of the run.
loss_decode = [
    dict(
        type='SoftDiceLoss',
        average='micro',
        over='image',
        power=2,
        smooth=1.0,
        eps=1e-5,
        class_weight=dict(type='inverse_frequency', statistics='auto'),
    ),
    dict(
        type='WeightedCrossEntropyLoss',
        loss_name='loss_weighted_ce',
        class_weight=dict(type='inverse_frequency', statistics='auto'),
    ),
]
custom_hooks = [
    dict(
        type='LossScheduleHook',
        heads=['decode_head'],
        schedules=dict(
            loss_weighted_ce=dict(type='naive', start=0.3, end=0.9),
            loss_soft_dice=dict(complement_of='loss_weighted_ce'),
        ),
    )
]
