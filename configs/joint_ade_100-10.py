# trains as joint_ade_100-50.py does: its model serves both
_base_ = [
    '_base_/ade20k_panoptic_r50.py',
    '_base_/scenarios/ade_100-10_methods.py',
    '_base_/methods/{{$METHOD:joint}}.py',
]
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [10] * 5)
complete(globals(), '{{fileBasenameNoExtension}}')
