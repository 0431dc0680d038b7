# Generalised Dice: overlap weighted by inverse squared class volume.
loss_decode = [dict(type='GeneralizedDiceLoss')]
