# ECLIPSE on the scenario of comformer_ade_semantic_100-10.py
_base_ = ['_base_/ade20k_semantic_r101.py', '_base_/methods/{{$METHOD:eclipse}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [10] * 5)
_released = dict(
    head=dict(deltas=[0.1, 0.7]),
    config=dict(schedule=dict(later_iters=24000, later_lr=1e-3)),
)
per_method = dict(eclipse=dict(head=dict(num_prompts=10), released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
