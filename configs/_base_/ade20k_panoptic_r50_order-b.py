_base_ = [
    'models/comformer_r50.py',
    'datasets/ade20k_panoptic.py',
    'scenarios/ade20k_classes_order-b.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
