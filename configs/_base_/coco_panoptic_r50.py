_base_ = [
    'models/comformer_r50.py',
    'datasets/coco_panoptic.py',
    'scenarios/coco_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
# ECLIPSE's base step
schedule = dict(base_iters=240000)
