# Soft Dice per class and clDice of the thin ones (Shit et al., CVPR 2021), one half of each.
# thin_classes=[1] is the foreground of two classes (vessels, cracks, roads); for other data give
# the indices of the thin classes in the recipe: loss_decode = [..., dict(thin_classes=[2])].
loss_decode = [
    dict(type='SoftDiceLoss', power=1, loss_weight=0.5),
    dict(type='CenterlineDiceLoss', thin_classes=[1], iterations=5, loss_weight=0.5),
]
