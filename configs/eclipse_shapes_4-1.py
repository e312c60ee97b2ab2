# ECLIPSE on the scenario of comformer_shapes_4-1.py
_base_ = ['_base_/shapes_panoptic_tiny.py', '_base_/methods/{{$METHOD:eclipse}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[4] + [1] * 8)
schedule = dict(later_iters=200)
# that of the other methods on Shapes
_released = dict(config=dict(schedule=dict(later_lr=1e-3)))
per_method = dict(eclipse=dict(released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
