# trains as joint_ade_semantic_100-50.py does: its model serves both
_base_ = [
    '_base_/ade20k_semantic_r101.py',
    '_base_/scenarios/ade_semantic_100-5_methods.py',
    '_base_/methods/{{$METHOD:joint}}.py',
]
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [5] * 10)
complete(globals(), '{{fileBasenameNoExtension}}')
