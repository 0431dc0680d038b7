# 20 of the 31 classes of CCP in every batch of four: one drawn at random has 16.
batch_sampler = dict(type='BalanceBatchSampler', min_classes=20)
