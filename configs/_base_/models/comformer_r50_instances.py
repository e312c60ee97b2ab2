# comformer_r50.py for instances. Masks are each query's own, as Mask2Former's: instances may
# overlap, and without stuff nothing competes for the background (docs/tasks.md).
_base_ = 'comformer_r50.py'
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
