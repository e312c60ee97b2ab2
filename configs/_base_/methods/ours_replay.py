# ours.py with a memory of 5 % of the images of the steps before
_base_ = 'ours.py'
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='SummaryHook', method='ours with replay'),
]
method = dict(key='{{fileBasenameNoExtension}}', config=dict(memory=dict(size=0.05)))
