_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 3, 3])
per_method = dict(comformer=dict(head=dict(loss_distill=dict(loss_weight=1.0))))
complete(globals(), '{{fileBasenameNoExtension}}')
