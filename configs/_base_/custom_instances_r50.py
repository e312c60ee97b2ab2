_base_ = [
    'models/comformer_r50_instances.py',
    'datasets/custom_instances.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
