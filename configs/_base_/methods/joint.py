# joint training: all classes in one step, the upper bound
custom_hooks = [
    dict(type='PreviousStepHook'),
    dict(type='SummaryHook', method='joint'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    model=dict(extra_losses=dict(distill=None)),
)
