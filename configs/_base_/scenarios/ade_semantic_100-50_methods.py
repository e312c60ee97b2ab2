# The released numbers of each method that has some for ADE20K semantic 100-50; all configs of
# the scenario have this base
per_method = dict(
    comformer=dict(model=dict(extra_losses=dict(distill=dict(loss_weight=0.5)))),
    eclipse=dict(
        head=dict(num_prompts=50),
        released=dict(
            head=dict(deltas=[0.0, -0.1]),
            config=dict(schedule=dict(later_iters=120000, later_lr=1e-3)),
        ),
    ),
    simcis=dict(
        head=dict(num_virtual=1, sampling_power=0.25),
        # its batch norms are frozen
        released=dict(
            model=dict(
                backbone=dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True),
            ),
        ),
    ),
)
