# The released numbers of each method that has some for ADE20K panoptic 100-10; all configs of
# the scenario have this base
per_method = dict(
    eclipse=dict(
        head=dict(num_prompts=10),
        released=dict(
            head=dict(deltas=[0.4, 0.5]),
            config=dict(schedule=dict(later_iters=16000)),
        ),
    ),
    simcis=dict(
        head=dict(num_virtual=1, sampling_power=0.5),
        model=dict(test_cfg=dict(object_mask_thr=0.3)),
    ),
)
