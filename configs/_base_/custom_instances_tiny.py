# custom_instances_r50.py with the model of Shapes, which needs no pretrained weights and trains on
# a CPU: docs/smaller_and_faster.md
_base_ = [
    'models/comformer_tiny_instances.py',
    'datasets/custom_instances.py',
    'schedules/shapes.py',
    'default_runtime.py',
]
schedule = dict(later_iters=None, iters_per_class=400)
