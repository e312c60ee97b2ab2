# ECLIPSE on the scenario of comformer_ade_100-50.py
_base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/{{$METHOD:eclipse}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100, 50])
_released = dict(
    head=dict(deltas=[-0.4, -0.6]),
    config=dict(schedule=dict(later_iters=80000)),
)
per_method = dict(eclipse=dict(head=dict(num_prompts=50), released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
