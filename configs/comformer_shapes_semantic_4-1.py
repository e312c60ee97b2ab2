_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[4] + [1] * 8)
schedule = dict(later_iters=200)
complete(globals(), '{{fileBasenameNoExtension}}')
