# Cityscapes panoptic, as tools/dataset_converters/cityscapes_panoptic.py writes it
_base_ = 'panoptic.py'
data_root = 'data/cityscapes/'
crop_size = (1024, 512)

# fmt: off
things = ['person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle']
stuff = [
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky',
]
# the colours of Cityscapes
palette = [
    (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230),
    (119, 11, 32), (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
    (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
    (70, 130, 180),
]
# fmt: on
metainfo = dict(
    classes=things + stuff,
    thing_classes=things,
    stuff_classes=stuff,
    palette=palette,
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    _base_.load_id_map,
    dict(
        type='RandomChoiceResize',
        scales=[int(1024 * 0.1 * k) for k in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=4096,
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=0)),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    _base_.load_id_map,
    dict(type='PackContinualInputs', evaluation=True),
]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='gtFine/cityscapes_panoptic_train.json',
            data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/cityscapes_panoptic_train/'),
            metainfo=metainfo,
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='gtFine/cityscapes_panoptic_val.json',
            data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/cityscapes_panoptic_val/'),
            metainfo=metainfo,
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
