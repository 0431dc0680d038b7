# Online bootstrapping: the mean of the hardest 70 % of pixels.
loss_decode = [dict(type='OHEMCrossEntropyLoss', keep_ratio=0.7)]
