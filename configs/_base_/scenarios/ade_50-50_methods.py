# The released numbers of each method that has some for ADE20K panoptic 50-50; all configs of
# the scenario have this base
per_method = dict(
    eclipse=dict(
        head=dict(num_prompts=50),
        released=dict(
            head=dict(num_queries=50, deltas=[0.5, -0.4, -0.4]),
            config=dict(schedule=dict(base_iters=80000, later_iters=120000)),
        ),
    ),
)
