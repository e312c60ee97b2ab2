_base_ = [
    'models/comformer_r50.py',
    'datasets/cityscapes_panoptic.py',
    'scenarios/cityscapes_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
# Mask2Former's schedule for the base step
schedule = dict(base_iters=90000)
