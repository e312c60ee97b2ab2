_base_ = ['_base_/voc_semantic_r101.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[19, 1])
complete(globals(), '{{fileBasenameNoExtension}}')
