# BalConpas with 5 % of the images on the scenario of comformer_shapes_semantic_6-3.py
_base_ = ['_base_/shapes_semantic_tiny.py', '_base_/methods/{{$METHOD:balconpas_replay}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[6, 3, 3])
complete(globals(), '{{fileBasenameNoExtension}}')
