# The things of Shapes, the embedded benchmark; tools/make_shapes.py generates it
_base_ = 'instances.py'
data_root = 'data/shapes/'
crop_size = (96, 96)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadInstanceMasks'),
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_train,
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    _base_.pack_test,
]

# loading takes about half a millisecond per image, so no worker processes
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        dataset=dict(
            type='ShapesInstanceDataset',
            data_root=data_root,
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        dataset=dict(
            type='ShapesInstanceDataset',
            data_root=data_root,
            ann_file='annotations/instances_val.json',
            data_prefix=dict(img='val/'),
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
