# PLOP: the teacher of step t-1 holds the features and labels what step t leaves unlabelled
custom_hooks = [
    dict(type='PseudoLabelHook', score_thr=0.0, overlap_thr=0.5),
    dict(type='SummaryHook', method='PLOP'),
]
