# BalConpas with 5 % of the images on the scenario of comformer_shapes_instances_6-2.py
_base_ = ['_base_/shapes_instances_tiny.py', '_base_/methods/{{$METHOD:balconpas_replay}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 2])
complete(globals(), '{{fileBasenameNoExtension}}')
