# DLNCE (Taubert et al., Table 1): Dice -> cross entropy,
# naive schedule: a straight line from 30 % to 90 % of the run.
loss_decode = [
    dict(type='SoftDiceLoss', average='micro', over='image', power=2, smooth=1.0, eps=1e-5),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce'),
]
custom_hooks = [
    dict(
        type='LossScheduleHook',
        heads=['decode_head'],
        schedules=dict(
            loss_ce=dict(type='naive', start=0.3, end=0.9),
            loss_soft_dice=dict(complement_of='loss_ce'),
        ),
    )
]
