# comformer_tiny.py for instances, with the masks of comformer_r50_instances.py
_base_ = 'comformer_tiny.py'
model = dict(
    panoptic_head=dict(
        mask_activation=dict(type='QuerySigmoid'),
        loss_mask=dict(type='SigmoidMaskLoss'),
        loss_dice=dict(type='SigmoidDiceLoss'),
    ),
    panoptic_fusion_head=dict(type='ContinualInstanceFusionHead'),
    train_cfg=dict(match_cost=dict(type='WeightedMatchCost')),
    test_cfg=dict(_delete_=True, instance_on=True, max_per_image=100),
)
