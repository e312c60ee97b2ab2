_base_ = [
    '_base_/coco_panoptic_r50.py',
    '_base_/scenarios/coco_83-10_methods.py',
    '_base_/methods/{{$METHOD:comformer}}.py',
]
from mmcomformer.recipe import complete

scenario = dict(increments=[83] + [10] * 5)
complete(globals(), '{{fileBasenameNoExtension}}')
