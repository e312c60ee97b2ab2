_base_ = ['_base_/cityscapes_panoptic_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[14, 5])
complete(globals(), '{{fileBasenameNoExtension}}')
