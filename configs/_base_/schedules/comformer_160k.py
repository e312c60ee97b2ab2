# AdamW with a polynomial schedule and no warm-up; learning rate and iterations depend on the step
# and are set in the leaf config
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='ContinualOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
