# The released numbers of each method that has some for COCO panoptic 83-5; all configs of
# the scenario have this base
per_method = dict(
    eclipse=dict(
        head=dict(num_prompts=10),
        released=dict(
            head=dict(deltas=[0.5, 0.6]),
            config=dict(schedule=dict(later_iters=8000)),
        ),
    ),
)
