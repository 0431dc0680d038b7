# Seesaw loss (Wang et al., CVPR 2021), class counts of the training set.
loss_decode = [dict(type='SoftmaxSeesawLoss', statistics='auto', p=0.8, q=2.0)]
