_base_ = ['_base_/coco_instances_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[40, 20, 20])
complete(globals(), '{{fileBasenameNoExtension}}')
