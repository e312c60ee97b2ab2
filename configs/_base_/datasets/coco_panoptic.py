# COCO panoptic 2017 in its own layout; tools/dataset_converters/coco_panoptic.py checks it
data_root = 'data/coco/'
backend_args = None

load_id_map = dict(type='LoadPanopticIdMap', backend_args=backend_args)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    load_id_map,
    dict(type='RandomFlip', prob=0.5),
    # large-scale jitter, as Mask2Former trains on COCO
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024)),
    dict(type='Pad', size=(1024, 1024), pad_val=dict(img=128, seg=0)),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    load_id_map,
    dict(type='PackContinualInputs', evaluation=True),
]

# a leaf config adds the scenario: train_dataloader = dict(dataset=dict(scenario=scenario))
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='IncrementalDataset',
        dataset=dict(
            type='CocoPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_train2017.json',
            data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
            backend_args=backend_args,
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='IncrementalDataset',
        dataset=dict(
            type='CocoPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_val2017.json',
            data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
            backend_args=backend_args,
        ),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IncrementalPanopticMetric')
test_evaluator = val_evaluator
