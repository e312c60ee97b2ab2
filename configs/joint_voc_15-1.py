# trains as joint_voc_15-5.py does: its model serves both
_base_ = ['_base_/voc_semantic_r101.py', '_base_/methods/{{$METHOD:joint}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[15] + [1] * 5)
complete(globals(), '{{fileBasenameNoExtension}}')
