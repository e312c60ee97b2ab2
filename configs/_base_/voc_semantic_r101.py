_base_ = [
    'models/comformer_r101_semantic.py',
    'datasets/voc_semantic.py',
    'scenarios/voc_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime_semantic.py',
]
# our choice
schedule = dict(base_iters=30000)
