# Batches with at least min_classes classes (Huang et al.). How many to ask for depends on the data:
# `mmseg-balance plot sampling CONFIG --min-classes N` says what batches drawn at random have.
batch_sampler = dict(type='BalanceBatchSampler', min_classes=10)
