# SimCIS on the scenario of comformer_ade_100-10.py
_base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/{{$METHOD:simcis}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100] + [10] * 5)
_head = dict(num_virtual=1, sampling_power=0.5)
_model = dict(test_cfg=dict(object_mask_thr=0.3))
per_method = dict(simcis=dict(head=_head, model=_model))
complete(globals(), '{{fileBasenameNoExtension}}')
