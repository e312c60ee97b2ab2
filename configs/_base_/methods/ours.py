# Mask2Former's masks with the pseudo-labels of BalConpas, a light hand on tokens, and the weights
# of each step fused with those of its teacher
_base_ = 'balconpas.py'
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='WeightFusionHook', share=0.2),
    dict(type='SummaryHook', method='ours'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    model=dict(extra_losses=dict(token=dict(loss_weight=0.5))),
)
