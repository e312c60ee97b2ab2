_base_ = ['_base_/voc_semantic_r101.py', '_base_/methods/{{$METHOD:ours_replay}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[15, 5])
complete(globals(), '{{fileBasenameNoExtension}}')
