# ECLIPSE on the scenario of comformer_ade_100-10.py
_base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/{{$METHOD:eclipse}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [10] * 5)
_released = dict(
    head=dict(deltas=[0.4, 0.5]),
    config=dict(schedule=dict(later_iters=16000)),
)
per_method = dict(eclipse=dict(head=dict(num_prompts=10), released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
