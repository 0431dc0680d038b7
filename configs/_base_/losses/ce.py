# MMSegmentation's own cross entropy, a mean over the labelled pixels.
loss_decode = [dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)]
