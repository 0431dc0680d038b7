# Lovasz-Softmax over the classes present (Berman et al.).
loss_decode = [dict(type='LovaszSoftmaxLoss')]
