# Rota Bulo et al., section 5.1: SGD with a polynomial decay; 165k iterations on Cityscapes.
# The paper leaves the weight decay open; 5e-4 is DeepLab's.
_base_ = './schedule_160k.py'
optimizer = dict(lr=2.5e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=165000, by_epoch=False)]
train_cfg = dict(max_iters=165000, val_interval=5000)
default_hooks = dict(checkpoint=dict(interval=5000))
