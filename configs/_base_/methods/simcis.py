# SimCIS: queries come from the pixel decoder; the student looks at the cells that the teacher
# selects, learns its pseudo-labels, and keeps a bank of queries of old classes.
# Score threshold and merging of the pseudo-labels are those of the head, for each task its own.
custom_hooks = [
    dict(
        type='PseudoLabelHook',
        labeller=dict(type='MaskPseudoLabels', share='strong', overlap_thr=0.8),
    ),
    dict(type='SummaryHook', method='SimCIS'),
]
_queries = dict(
    head=dict(
        type='SimCISHead', loss_cls=dict(_delete_=True, type='ClassFocalLoss', loss_weight=4.0)
    ),
    model=dict(
        train_cfg=dict(match_cost=dict(_delete_=True, type='BoxMatchCost', cls_weight=4.0)),
    ),
)
_thresholds = dict(object_mask_thr=0.3, iou_thr=0.8)
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        num_virtual=1,
        sampling_power=0.5,
        bank_size=80,
        classifier='growing',
        mask_activation=dict(type='QuerySigmoid'),
        class_activation=dict(type='ClassSigmoid', no_object=False, temperature=0.06),
        loss_mask=dict(type='SigmoidMaskLoss', loss_weight=5.0),
        loss_dice=dict(type='SigmoidDiceLoss', loss_weight=5.0),
        loss_box=dict(type='BoxL1Loss', loss_weight=5.0),
        loss_giou=dict(type='BoxGIoULoss', loss_weight=2.0),
    ),
    model=dict(
        extra_losses=dict(
            distill=None,
            select=dict(type='ConsistentSelectionLoss', temperature=1.0, loss_weight=2.0),
            # in some scenarios: decoder=dict(type='DecoderDistillLoss')
        ),
    ),
    panoptic=dict(_queries, model=dict(_queries['model'], test_cfg=_thresholds)),
    # scores of instances are plain sigmoids
    instance=_queries,
    semantic=dict(
        head=dict(
            type='SimCISSemanticHead',
            loss_cls=dict(_delete_=True, type='ClassFocalLoss', loss_weight=2.0),
            semantic_fusion=dict(
                type='MaskBasedFusion', object_mask_thr=0.4, iou_thr=0.8, area_thr=0.8
            ),
        ),
        model=dict(
            train_cfg=dict(match_cost=dict(_delete_=True, type='BoxMatchCost', cls_weight=2.0)),
        ),
    ),
    released=dict(
        config=dict(
            schedule=dict(
                iters_per_class=1000, base_drops=[135 / 160, 150 / 160], later_drops=[0.85, 0.95]
            ),
            param_scheduler=[dict(type='MultiStepLR', gamma=0.1, by_epoch=False)],
            train_dataloader=dict(batch_size=8),
            auto_scale_lr=dict(base_batch_size=8),
        ),
    ),
)
