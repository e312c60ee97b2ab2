_base_ = [
    '_base_/ade20k_semantic_r101.py',
    '_base_/scenarios/ade_semantic_100-50_methods.py',
    '_base_/methods/{{$METHOD:finetune}}.py',
]
from mmcomformer.recipe import complete

scenario = dict(increments=[100, 50])
complete(globals(), '{{fileBasenameNoExtension}}')
