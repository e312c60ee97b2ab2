_base_ = [
    'models/comformer_r50_instances.py',
    'datasets/coco_instances.py',
    'scenarios/coco_instances_classes.py',
    'schedules/comformer_160k.py',
    'default_runtime.py',
]
