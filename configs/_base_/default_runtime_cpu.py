# For small models on a CPU: gloo where several processes train together.
_base_ = './default_runtime.py'
env_cfg = dict(cudnn_benchmark=False, dist_cfg=dict(backend='gloo'))
