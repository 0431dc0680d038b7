_base_ = 'mmseg::_base_/models/fcn_r50-d8.py'
# A mean over the labelled pixels, as every loss of this package takes it.
model = dict(auxiliary_head=dict(loss_decode=dict(avg_non_ignore=True)))
