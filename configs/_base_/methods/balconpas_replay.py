# balconpas.py with its memory: 300 images, or a share of those of the steps before
_base_ = 'balconpas.py'
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='SummaryHook', method='BalConpas with replay'),
]
method = dict(key='{{fileBasenameNoExtension}}', config=dict(memory=dict(size=300)))
