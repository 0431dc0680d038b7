# Label-distribution-aware margins from the counts of the training set (Cao et al.). Their scale of
# 30 is for a cosine classifier; this one is for the logits of an ordinary head.
loss_decode = [dict(type='LDAMLoss', statistics='auto', scale=1.0)]
