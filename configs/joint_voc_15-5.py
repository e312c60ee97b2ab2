# upper bound for comformer_voc_15-5.py
_base_ = ['_base_/voc_semantic_r101.py', '_base_/methods/{{$METHOD:joint}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[15, 5])
complete(globals(), '{{fileBasenameNoExtension}}')
