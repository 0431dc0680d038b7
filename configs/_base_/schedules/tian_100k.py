# Tian et al., section IV-A, Synthia: 100k iterations, Adam 1e-3 without annealing.
_base_ = './tian_90k.py'
optimizer = dict(lr=1e-3)
optim_wrapper = dict(optimizer=optimizer)
train_cfg = dict(max_iters=100000, val_interval=10000)
default_hooks = dict(checkpoint=dict(interval=10000))
