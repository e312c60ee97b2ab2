# COCO panoptic 2017 in its own layout; tools/dataset_converters/coco_panoptic.py checks it
_base_ = 'panoptic.py'
data_root = 'data/coco/'
crop_size = (1024, 1024)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    _base_.load_id_map,
    dict(type='RandomFlip', prob=0.5),
    # large-scale jitter, as Mask2Former trains on COCO
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=0)),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    _base_.load_id_map,
    dict(type='PackContinualInputs', evaluation=True),
]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='annotations/panoptic_train2017.json',
            data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='annotations/panoptic_val2017.json',
            data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
