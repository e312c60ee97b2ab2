# eclipse.py for semantic segmentation
_base_ = 'eclipse.py'
custom_hooks = [*_base_.custom_hooks[:-1], dict(_base_.custom_hooks[-1], task='semantic')]
