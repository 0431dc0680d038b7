_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../evaluators.py']
num_classes = 19
val_evaluator = _base_.evaluators
test_evaluator = val_evaluator
