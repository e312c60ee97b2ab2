# ECLIPSE on the scenario of comformer_shapes_instances_6-2.py
_base_ = ['_base_/shapes_instances_tiny.py', '_base_/methods/{{$METHOD:eclipse}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 2])
# that of the other methods on Shapes
_released = dict(config=dict(schedule=dict(later_lr=1e-3)))
per_method = dict(eclipse=dict(released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
