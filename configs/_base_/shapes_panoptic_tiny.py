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
per_method = dict(ours=_whole_things, ours_replay=_whole_things)
