# Huang et al., section III: 20k iterations, SGD 2.5e-4, momentum 0.9, weight decay 5e-4.
# The decay of the learning rate is DeepLab's; the paper does not name one.
_base_ = './schedule_20k.py'
optimizer = dict(lr=2.5e-4)
optim_wrapper = dict(optimizer=optimizer)
train_cfg = dict(val_interval=5000)
default_hooks = dict(checkpoint=dict(interval=5000))
