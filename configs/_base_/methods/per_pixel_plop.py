# PLOP per pixel: the teacher of step t-1 holds the features and labels the background it is sure of
_base_ = 'per_pixel.py'
custom_hooks = [
    dict(type='PseudoLabelHook', labeller=dict(type='PixelPseudoLabels', score_thr=0.8)),
    dict(type='SummaryHook', method='PLOP per pixel', task='semantic'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    model=dict(extra_losses=dict(feature=dict(type='PodLoss', loss_weight=0.001))),
    # times the square root of new by seen classes
    scaled_by_classes=['extra_losses.feature.loss_weight'],
)
