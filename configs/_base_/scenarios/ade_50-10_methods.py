# The released numbers of each method that has some for ADE20K panoptic 50-10; all configs of
# the scenario have this base
per_method = dict(
    eclipse=dict(
        head=dict(num_prompts=10),
        released=dict(
            head=dict(num_queries=50, deltas=[0.4, 0.5]),
            config=dict(schedule=dict(base_iters=80000, later_iters=24000)),
        ),
    ),
)
