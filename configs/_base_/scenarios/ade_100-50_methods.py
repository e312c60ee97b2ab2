# The released numbers of each method that has some for ADE20K panoptic 100-50; all configs of
# the scenario have this base
per_method = dict(
    comformer=dict(model=dict(extra_losses=dict(distill=dict(loss_weight=5.0)))),
    eclipse=dict(
        head=dict(num_prompts=50),
        released=dict(
            head=dict(deltas=[-0.4, -0.6]),
            config=dict(schedule=dict(later_iters=80000)),
        ),
    ),
    simcis=dict(
        head=dict(num_virtual=0, sampling_power=0.25),
        model=dict(test_cfg=dict(object_mask_thr=0.2)),
        released=dict(config=dict(schedule=dict(later_drops=[0.8, 0.9]))),
    ),
)
