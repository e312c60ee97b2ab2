_base_ = [
    'models/comformer_r101_semantic.py',
    'datasets/ade20k_semantic.py',
    'scenarios/ade20k_semantic_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime_semantic.py',
]
