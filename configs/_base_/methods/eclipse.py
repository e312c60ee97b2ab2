# ECLIPSE: a step trains its prompts and their MLPs, and all that came before is frozen; no teacher.
# Mask2Former with a sigmoid for each class otherwise.
custom_hooks = [
    dict(type='PreviousStepHook'),
    dict(type='SummaryHook', method='ECLIPSE'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        num_prompts=10,
        # or a list, one for each step; choose with tools/test.py --sweep deltas=0.2,0.4,0.6
        deltas=0.5,
        class_weights=(2.0, 10.0),
        mask_activation=dict(type='QuerySigmoid'),
        class_activation=dict(type='ClassSigmoid'),
        loss_cls=dict(_delete_=True, type='SigmoidFocalClassLoss', alpha=5.0, gamma=1.0),
        loss_mask=dict(type='SigmoidMaskLoss', loss_weight=5.0),
        loss_dice=dict(type='SigmoidDiceLoss', loss_weight=5.0),
    ),
    model=dict(
        extra_losses=dict(distill=None),
        train_cfg=dict(match_cost=dict(type='WeightedMatchCost')),
        freeze=dict(names=['*'], keep=['*.cls_embed.no_object.*'], keep_newest=True),
    ),
    panoptic=dict(head=dict(type='EclipseHead')),
    instance=dict(head=dict(type='EclipseHead')),
    semantic=dict(head=dict(type='EclipseSemanticHead')),
    released=dict(config=dict(schedule=dict(later_lr=5e-4))),
)
