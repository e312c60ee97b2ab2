# joint training: all classes in one step, the upper bound
method = dict(
    key='{{fileBasenameNoExtension}}',
    name='joint',
    hooks=[dict(type='PreviousStepHook')],
    head=dict(loss_distill=None),
)
