_base_ = [
    'models/comformer_tiny_instances.py',
    'datasets/shapes_instances.py',
    'scenarios/shapes_instances_classes.py',
    'schedules/shapes.py',
    'default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=100))
# what suits a method on Shapes, whatever the split
per_method = dict(
    balconpas_replay=dict(config=dict(memory=dict(size=0.05))),
    # the rate of the other methods
    eclipse=dict(released=dict(config=dict(schedule=dict(later_lr=1e-3)))),
)
