_base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100, 50])
_distill = dict(loss_weight=5.0)
per_method = dict(comformer=dict(model=dict(extra_losses=dict(distill=_distill))))
complete(globals(), '{{fileBasenameNoExtension}}')
