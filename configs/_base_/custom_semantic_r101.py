_base_ = [
    'models/comformer_r101_semantic.py',
    'datasets/custom_semantic.py',
    'schedules/comformer_160k.py',
    'default_runtime_semantic.py',
]
