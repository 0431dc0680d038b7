# Pascal VOC 2012 with the extra annotations of SBD, 10582 training images.
_base_ = ['mmseg::_base_/datasets/pascal_voc12_aug.py', '../evaluators.py']
num_classes = 21
val_evaluator = _base_.evaluators
test_evaluator = val_evaluator
