# mmseg-balance test configs/decisions/deeplabv3_ce_iou_camvid_dev_small.py CHECKPOINT, trained with _base_
_base_ = '../deeplabv3_ce_camvid_dev_small.py'
model = dict(_delete_=True, type='DecisionSegmentor', decision='iou', module=_base_.model)
