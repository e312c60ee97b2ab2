_base_ = [
    'models/comformer_tiny_instances.py',
    'datasets/shapes_instances.py',
    'scenarios/shapes_instances_classes.py',
    'schedules/shapes.py',
    'default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=100))
