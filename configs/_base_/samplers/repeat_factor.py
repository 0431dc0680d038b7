# Images of classes with less than 1 % of the pixels repeated, by sqrt(0.01 / f) (LVIS).
sampler = dict(type='RepeatFactorSampler', threshold=0.01, frequency='pixels')
