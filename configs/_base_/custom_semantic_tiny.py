# custom_semantic_r101.py with the model of Shapes, which needs no pretrained weights and trains on
# a CPU: docs/smaller_and_faster.md
_base_ = [
    'models/comformer_tiny_semantic.py',
    'datasets/custom_semantic.py',
    'schedules/shapes.py',
    'default_runtime_semantic.py',
]
schedule = dict(later_iters=None, iters_per_class=400)
