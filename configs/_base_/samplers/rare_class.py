# An image of a class drawn by exp((1 - f) / T): DAFormer's rare class sampling.
sampler = dict(type='RareClassSampler', temperature=0.01)
