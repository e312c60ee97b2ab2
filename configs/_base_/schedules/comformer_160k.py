# AdamW with a polynomial schedule and no warm-up. Iterations and learning rate of each step:
schedule = dict(
    base_iters=160000,
    iters_per_class=400,
    base_lr=1e-4,
    later_lr=5e-5,
    val_interval=5000,
    # mmengine's polynomial is 0 in its last iteration, the released program's would be one later
    end_offset=1,
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='ContinualOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=5000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, by_epoch=False)]
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
