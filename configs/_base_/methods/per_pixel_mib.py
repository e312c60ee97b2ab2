# MiB per pixel: the teacher of step t-1 distils its classes; background may be an old class
_base_ = 'per_pixel.py'
custom_hooks = [
    dict(type='TeacherHook'),
    dict(type='SummaryHook', method='MiB per pixel', task='semantic'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(loss_cls=dict(unbiased=True), new_from_no_object=True),
    model=dict(extra_losses=dict(pixel=dict(type='PixelDistillLoss', loss_weight=200.0))),
)
