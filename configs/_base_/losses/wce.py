# Cross entropy weighted by inverse class frequency, counted on the training set.
loss_decode = [
    dict(
        type='WeightedCrossEntropyLoss',
        class_weight=dict(type='inverse_frequency', statistics='auto'),
    )
]
