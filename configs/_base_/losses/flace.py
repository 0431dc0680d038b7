# FLACE (Taubert et al., section 5.3): focal loss -> cross entropy,
# alternating schedule: a line away from it until 50 %, a sinusoid back until 90 %.
loss_decode = [
    dict(type='SoftmaxFocalLoss', gamma=2.0, loss_name='loss_focal'),
    dict(type='WeightedCrossEntropyLoss', loss_name='loss_ce'),
]
custom_hooks = [
    dict(
        type='LossScheduleHook',
        heads=['decode_head'],
        schedules=dict(
            loss_ce=dict(type='alternating', start=0.5, end=0.9),
            loss_focal=dict(complement_of='loss_ce'),
        ),
    )
]
