# SimCIS on the scenario of comformer_ade_100-50.py
_base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/{{$METHOD:simcis}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[100, 50])
_head = dict(num_virtual=0, sampling_power=0.25)
_model = dict(test_cfg=dict(object_mask_thr=0.2))
_released = dict(config=dict(schedule=dict(later_drops=[0.8, 0.9])))
per_method = dict(simcis=dict(head=_head, model=_model, released=_released))
complete(globals(), '{{fileBasenameNoExtension}}')
