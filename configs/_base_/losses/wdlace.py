# WDLACE (Taubert et al., Table 1): class-weighted Dice -> cross entropy,
# alternating schedule: a line away from it until 50 %, a sinusoid back until 90 %.
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
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce'),
]
custom_hooks = [
    dict(
        type='LossScheduleHook',
        heads=['decode_head'],
        schedules=dict(
            loss_ce=dict(type='alternating', start=0.5, end=0.9),
            loss_soft_dice=dict(complement_of='loss_ce'),
        ),
    )
]
