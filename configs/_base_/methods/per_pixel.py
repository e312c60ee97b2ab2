# the per-pixel baseline of CoMFormer's experiments, fine-tuned: cross-entropy of pixels, of which
# those whose class the step hides are background; for semantic segmentation
custom_hooks = [
    dict(type='PreviousStepHook'),
    dict(type='SummaryHook', method='per pixel', task='semantic'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    head=dict(
        type='PerPixelHead',
        mask_activation=dict(type='QuerySigmoid'),
        loss_cls=dict(_delete_=True, type='PixelClassLoss', scenario=dict()),
        loss_mask=None,
        loss_dice=None,
    ),
    model=dict(extra_losses=dict(distill=None), train_cfg=None),
    config=dict(train_dataloader=dict(dataset=dict(mark_hidden=True))),
)
