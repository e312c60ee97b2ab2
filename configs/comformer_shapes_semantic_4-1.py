_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[4] + [1] * 8)
schedule = dict(later_iters=200)
_distill = dict(loss_weight=1.0)
per_method = dict(comformer=dict(model=dict(extra_losses=dict(distill=_distill))))
complete(globals(), '{{fileBasenameNoExtension}}')
