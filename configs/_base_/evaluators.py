# What every recipe is scored by. A data set takes it as `val_evaluator = _base_.evaluators`.
evaluators = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='ImbalanceMetric'),
    dict(type='CalibrationMetric'),
]
