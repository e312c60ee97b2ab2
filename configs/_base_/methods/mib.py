# MiB: the teacher of step t-1 distils its classes; what is not labelled may be an old class
custom_hooks = [
    dict(type='TeacherHook'),
    dict(type='SummaryHook', method='MiB'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        loss_cls=dict(type='UnbiasedClassLoss', scenario=dict()),
        # as the paper has it; the released program starts new classes at random
        new_from_no_object=True,
    ),
    model=dict(extra_losses=dict(distill=dict(adaptive=False, loss_weight=200.0))),
)
