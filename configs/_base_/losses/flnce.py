# FLNCE (Taubert et al., section 5.3): focal loss -> cross entropy,
# naive schedule: a straight line from 30 % to 90 % of the run.
loss_decode = [
    dict(type='SoftmaxFocalLoss', gamma=2.0, loss_name='loss_focal'),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce'),
]
custom_hooks = [
    dict(
        type='LossScheduleHook',
        heads=['decode_head'],
        schedules=dict(
            loss_ce=dict(type='naive', start=0.3, end=0.9), loss_focal=dict(complement_of='loss_ce')
        ),
    )
]
