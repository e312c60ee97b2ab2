# The released numbers of each method that has some for ADE20K semantic 100-5; all configs of
# the scenario have this base
per_method = dict(
    eclipse=dict(
        head=dict(num_prompts=5),
        released=dict(
            head=dict(deltas=[0.1, 0.8]),
            config=dict(schedule=dict(later_iters=12000, later_lr=1e-3)),
        ),
    ),
    simcis=dict(
        head=dict(num_virtual=3, sampling_power=0.5),
        model=dict(extra_losses=dict(decoder=dict(type='DecoderDistillLoss', temperature=2.0))),
        # its batch norms are frozen
        released=dict(
            model=dict(
                backbone=dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True),
            ),
        ),
    ),
)
