# mmseg-balance test configs/decisions/deeplabv3_ce_iou_camvid_dev_small.py CHECKPOINT, trained with _base_
_base_ = '../deeplabv3_ce_camvid_dev_small.py'
model = dict(_delete_=True, type='DecisionSegmentor', decision='iou', module=_base_.model)
# Without CalibrationMetric: the probabilities are those of the argmax; score them with _base_ itself.
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='ImbalanceMetric', per_image=True),
]
val_evaluator = test_evaluator
