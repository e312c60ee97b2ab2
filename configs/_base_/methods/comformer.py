# CoMFormer: the teacher of step t-1 distils its classes and labels what step t leaves unlabelled
custom_hooks = [
    dict(type='PseudoLabelHook', score_thr=0.0, overlap_thr=0.5),
    dict(type='SummaryHook', method='CoMFormer'),
]
method = dict(key='{{fileBasenameNoExtension}}')
