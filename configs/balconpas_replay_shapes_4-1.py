# BalConpas with 5 % of the images on the scenario of comformer_shapes_4-1.py
_base_ = ['_base_/shapes_panoptic_tiny.py', '_base_/methods/{{$METHOD:balconpas_replay}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[4] + [1] * 8)
schedule = dict(later_iters=200)
complete(globals(), '{{fileBasenameNoExtension}}')
