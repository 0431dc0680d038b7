# Half of the images at random, half for a class drawn by 1 - IoU in training (Rota Bulo et al.).
sampler = dict(type='ClassPerformanceSampler', uniform_ratio=0.5)
custom_hooks = [dict(type='ClassPerformanceHook', momentum=0.9, interval=20)]
