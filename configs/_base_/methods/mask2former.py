# joint training of Mask2Former, whose masks are each query's own: the upper bound of the methods
# that keep them
_base_ = 'joint.py'
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='SummaryHook', method='joint, sigmoid masks'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        mask_activation=dict(type='QuerySigmoid'),
        # without images from memory the class loss of Mask2Former
        loss_cls=dict(
            _delete_=True, type='BalancedClassLoss', no_object_weight=0.1, loss_weight=2.0
        ),
        loss_mask=dict(type='SigmoidMaskLoss', loss_weight=5.0),
        loss_dice=dict(type='SigmoidDiceLoss', loss_weight=5.0),
    ),
    model=dict(train_cfg=dict(match_cost=dict(type='WeightedMatchCost'))),
    panoptic=dict(
        head=dict(type='IncrementalQueryHead'),
        # those of its released program
        model=dict(test_cfg=dict(object_mask_thr=0.8, iou_thr=0.8)),
    ),
    instance=dict(head=dict(type='IncrementalQueryHead')),
    semantic=dict(
        head=dict(type='SemanticQueryHead', semantic_fusion=dict(type='ScoreSumFusion')),
    ),
)
