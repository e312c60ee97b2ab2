_base_ = [
    'models/comformer_tiny.py',
    'datasets/shapes_panoptic.py',
    'scenarios/shapes_classes.py',
    'schedules/shapes.py',
    'default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=100))
# no thing of Shapes is cut apart by another
_whole_things = dict(panoptic=dict(model=dict(test_cfg=dict(split_share=0.1))))
# what suits a method on Shapes, whatever the split
per_method = dict(
    balconpas_replay=dict(config=dict(memory=dict(size=0.05))),
    comformer=dict(model=dict(extra_losses=dict(distill=dict(loss_weight=1.0)))),
    # the rate of the other methods
    eclipse=dict(released=dict(config=dict(schedule=dict(later_lr=1e-3)))),
    ours=_whole_things,
    ours_replay=_whole_things,
)
