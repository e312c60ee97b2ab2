# default_runtime.py with mmseg's components
_base_ = 'default_runtime.py'
default_scope = 'mmseg'
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer')
auto_scale_lr = dict(base_batch_size=16)
