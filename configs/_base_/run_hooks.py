# What every schedule adds to MMSegmentation's hooks: checkpoints that survive a kill, data looked
# at before the first iteration, and an end at the first loss that is not a number.
run_hooks = dict(
    checkpoint=dict(type='WholeCheckpointHook', max_keep_ckpts=2),
    label_check=dict(type='LabelCheckHook'),
    finite_loss=dict(type='FiniteLossHook'),
)
