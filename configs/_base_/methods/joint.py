# joint training: all classes in one step, with the iterations of all steps; the upper bound
custom_hooks = [
    dict(type='PreviousStepHook'),
    dict(type='SummaryHook', method='joint'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    at_once=True,
    model=dict(extra_losses=dict(distill=None)),
)
