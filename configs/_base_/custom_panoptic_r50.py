_base_ = [
    'models/comformer_r50.py',
    'datasets/custom_panoptic.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
