_base_ = [
    'models/comformer_tiny_semantic.py',
    'datasets/shapes_semantic.py',
    'scenarios/shapes_semantic_classes.py',
    'schedules/shapes.py',
    'default_runtime_semantic.py',
]
# at the full rate a later step forgot up to 17 points with some seeds
schedule = dict(later_lr=5e-4)
default_hooks = dict(checkpoint=dict(interval=100))
auto_scale_lr = dict(base_batch_size=8)
# what suits a method on Shapes, whatever the split
per_method = dict(
    balconpas_replay=dict(config=dict(memory=dict(size=0.05))),
    comformer=dict(model=dict(extra_losses=dict(distill=dict(loss_weight=1.0)))),
)
