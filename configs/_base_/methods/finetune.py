# fine-tuning: start from step t-1, with nothing against forgetting
method = dict(
    key='{{fileBasenameNoExtension}}',
    name='fine-tuning',
    hooks=[dict(type='PreviousStepHook')],
    model=dict(extra_losses=dict(distill=None)),
)
