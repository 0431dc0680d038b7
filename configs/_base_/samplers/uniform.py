# Every image alike, in a new random order each time through the training set.
sampler = dict(type='InfiniteSampler', shuffle=True)
