_base_ = [
    'models/comformer_tiny.py',
    'datasets/shapes_panoptic.py',
    'scenarios/shapes_classes.py',
    'schedules/shapes.py',
    'default_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=100))
