# MiB: the teacher of step t-1 distils its classes; what is not labelled may be an old class
custom_hooks = [
    dict(type='TeacherHook'),
    dict(type='SummaryHook', method='MiB'),
]
