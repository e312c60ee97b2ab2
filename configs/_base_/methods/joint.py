# joint training: all classes in one step, the upper bound
method = dict(
    key='{{fileBasenameNoExtension}}',
    name='joint',
    hooks=[dict(type='PreviousStepHook')],
    model=dict(extra_losses=dict(distill=None)),
)
