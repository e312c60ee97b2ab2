# Shapes, the embedded benchmark; tools/make_shapes.py generates it
data_root = 'data/shapes/'
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadPanopticIdMap', backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    dict(type='LoadPanopticIdMap', backend_args=backend_args),
    dict(type='PackContinualInputs', evaluation=True),
]

# Loading takes about half a millisecond per image, so no worker processes;
# a leaf config adds the scenario: train_dataloader = dict(dataset=dict(scenario=scenario))
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='IncrementalDataset',
        dataset=dict(
            type='ShapesPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_train.json',
            data_prefix=dict(img='train/', seg='panoptic_train/'),
            backend_args=backend_args,
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='IncrementalDataset',
        dataset=dict(
            type='ShapesPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_val.json',
            data_prefix=dict(img='val/', seg='panoptic_val/'),
            backend_args=backend_args,
        ),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IncrementalPanopticMetric')
test_evaluator = val_evaluator
