_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 3, 3])
complete(globals(), '{{fileBasenameNoExtension}}')
