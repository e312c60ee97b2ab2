# SimCIS on the scenario of comformer_ade_semantic_100-5.py
_base_ = ['_base_/ade20k_semantic_r101.py', '_base_/methods/{{$METHOD:simcis}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [5] * 10)
_decoder = dict(type='DecoderDistillLoss', temperature=1.0)
_head = dict(num_virtual=3, sampling_power=0.5)
# its batch norms are frozen
_backbone = dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True)
_released = dict(model=dict(backbone=_backbone))
per_method = dict(
    simcis=dict(head=_head, model=dict(extra_losses=dict(decoder=_decoder)), released=_released)
)
complete(globals(), '{{fileBasenameNoExtension}}')
