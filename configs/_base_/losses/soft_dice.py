# Soft Dice per class, squared denominator (Huang et al., eq. 5).
loss_decode = [dict(type='SoftDiceLoss')]
