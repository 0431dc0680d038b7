# Loss max-pooling with the setting that Rota Bulo et al. found best.
loss_decode = [dict(type='LMPLoss', p=1.3, ratio=0.25)]
