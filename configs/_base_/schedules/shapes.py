# short schedule for Shapes
schedule = dict(base_iters=1000, later_iters=500, base_lr=1e-3)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ContinualOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    # nothing is pretrained: the backbone learns at the full rate
    paramwise_cfg=dict(backbone_lr_mult=1.0, norm_decay_mult=0.0, embed_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500, val_interval=500)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, by_epoch=False)]
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
