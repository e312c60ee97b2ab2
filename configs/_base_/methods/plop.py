# PLOP: the teacher of step t-1 holds the features and labels what step t leaves unlabelled
custom_hooks = [
    dict(type='PseudoLabelHook', score_thr=0.0, overlap_thr=0.5),
    dict(type='SummaryHook', method='PLOP'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    model=dict(
        extra_losses=dict(distill=None, feature=dict(type='PodLoss', loss_weight=0.001)),
    ),
    # times the square root of new by seen classes
    scaled_by_classes=['extra_losses.feature.loss_weight'],
)
