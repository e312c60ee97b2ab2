# Shapes, the embedded benchmark; tools/make_shapes.py generates it
_base_ = 'panoptic.py'
data_root = 'data/shapes/'
crop_size = (96, 96)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    _base_.load_id_map,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    _base_.load_id_map,
    dict(type='PackContinualInputs', evaluation=True),
]

# loading takes about half a millisecond per image, so no worker processes
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        dataset=dict(
            type='ShapesPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_train.json',
            data_prefix=dict(img='train/', seg='panoptic_train/'),
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
            type='ShapesPanopticDataset',
            data_root=data_root,
            ann_file='annotations/panoptic_val.json',
            data_prefix=dict(img='val/', seg='panoptic_val/'),
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
