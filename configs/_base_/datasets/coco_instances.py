# COCO's instances of 2017 in its own layout
_base_ = 'instances.py'
data_root = 'data/coco/'
crop_size = (1024, 1024)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadInstanceMasks'),
    dict(type='RandomFlip', prob=0.5),
    # large-scale jitter, as Mask2Former trains on COCO
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, recompute_bbox=True),
    dict(type='FilterAnnotations', by_box=False, by_mask=True, keep_empty=False),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, masks=0)),
    _base_.pack_train,
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    _base_.pack_test,
]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='annotations/instances_val2017.json',
            data_prefix=dict(img='val2017/'),
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
