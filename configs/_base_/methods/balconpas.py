# BalConpas: the teacher of step t-1 holds the tokens of queries on past classes and labels what
# step t leaves unlabelled; the losses know which images are from memory. Mask2Former otherwise.
custom_hooks = [
    dict(
        type='PseudoLabelHook',
        labeller=dict(
            type='MaskPseudoLabels', share='strong', score_thr=0.0, overlap_thr=0.8, memory=False
        ),
    ),
    dict(type='SummaryHook', method='BalConpas'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        mask_activation=dict(type='QuerySigmoid'),
        loss_cls=dict(
            _delete_=True, type='BalancedClassLoss', no_object_weight=0.1, loss_weight=2.0
        ),
        loss_mask=dict(type='SigmoidMaskLoss', loss_weight=5.0),
        loss_dice=dict(type='SigmoidDiceLoss', loss_weight=5.0),
    ),
    model=dict(
        extra_losses=dict(distill=None, token=dict(type='BacktraceDistillLoss', loss_weight=5.0)),
        train_cfg=dict(match_cost=dict(type='WeightedMatchCost')),
    ),
    panoptic=dict(
        head=dict(type='IncrementalQueryHead'),
        model=dict(test_cfg=dict(object_mask_thr=0.8, iou_thr=0.8)),
    ),
    instance=dict(head=dict(type='IncrementalQueryHead')),
    semantic=dict(
        head=dict(type='SemanticQueryHead', semantic_fusion=dict(type='ScoreSumFusion')),
    ),
    released=dict(
        config=dict(
            schedule=dict(iters_per_class=1000),
            train_dataloader=dict(batch_size=8),
            auto_scale_lr=dict(base_batch_size=8),
        ),
    ),
)
