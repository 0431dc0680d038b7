# Taubert et al., section 5: 30 epochs, from 1e-3 linearly to 0, weight decay 1e-4.
# The paper does not name the optimiser; SGD with momentum 0.9 is MMSegmentation's.
_base_ = './schedule_20k.py'
optimizer = dict(lr=1e-3, weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.0,
        begin=0,
        end=30,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=30, val_interval=5)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=5)
)
