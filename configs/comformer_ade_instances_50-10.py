_base_ = ['_base_/ade20k_instances_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[50] + [10] * 5)
complete(globals(), '{{fileBasenameNoExtension}}')
