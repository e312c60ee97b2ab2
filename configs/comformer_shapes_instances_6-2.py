_base_ = ['_base_/shapes_instances_tiny.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 2])
complete(globals(), '{{fileBasenameNoExtension}}')
