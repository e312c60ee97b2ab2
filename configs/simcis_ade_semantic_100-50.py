# SimCIS on the scenario of comformer_ade_semantic_100-50.py
_base_ = ['_base_/ade20k_semantic_r101.py', '_base_/methods/{{$METHOD:simcis}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100, 50])
_head = dict(num_virtual=1, sampling_power=0.25)
# its batch norms are frozen
_backbone = dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True)
_released = dict(model=dict(backbone=_backbone))
per_method = dict(simcis=dict(head=_head, released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
