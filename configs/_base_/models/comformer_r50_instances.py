# comformer_r50.py for instances
_base_ = 'comformer_r50.py'
model = dict(
    panoptic_fusion_head=dict(type='ContinualInstanceFusionHead'),
    test_cfg=dict(_delete_=True, instance_on=True, max_per_image=100),
)
