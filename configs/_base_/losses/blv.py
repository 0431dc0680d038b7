# Balancing logit variation (Wang et al., CVPR 2023), with the noise of the authors' Cityscapes runs.
loss_decode = [dict(type='BalancedVariationLoss', statistics='auto', sigma=4.0)]
