_base_ = [
    'models/comformer_r50_instances.py',
    'datasets/ade20k_instances.py',
    'scenarios/ade20k_instances_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
