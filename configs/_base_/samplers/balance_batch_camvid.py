# All 11 classes of CamVid in every batch of four.
batch_sampler = dict(type='BalanceBatchSampler', min_classes=11)
