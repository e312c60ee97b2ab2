_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 3, 3])
_distill = dict(loss_weight=1.0)
per_method = dict(comformer=dict(model=dict(extra_losses=dict(distill=_distill))))
complete(globals(), '{{fileBasenameNoExtension}}')
