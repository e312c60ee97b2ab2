# fine-tuning: start from step t-1, with nothing against forgetting
custom_hooks = [
    dict(type='PreviousStepHook'),
    dict(type='SummaryHook', method='fine-tuning'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    model=dict(extra_losses=dict(distill=None)),
)
