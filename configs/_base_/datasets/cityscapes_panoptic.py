# Cityscapes panoptic, as tools/dataset_converters/cityscapes_panoptic.py writes it
data_root = 'data/cityscapes/'
backend_args = None

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

load_id_map = dict(type='LoadPanopticIdMap', backend_args=backend_args)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    load_id_map,
    dict(
        type='RandomChoiceResize',
        scales=[int(1024 * 0.1 * k) for k in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=4096,
    ),
    dict(type='RandomCrop', crop_size=(1024, 512)),
    dict(type='SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=(1024, 512), pad_val=dict(img=128, seg=0)),
    dict(type='PackContinualInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
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
            ann_file='gtFine/cityscapes_panoptic_train.json',
            data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/cityscapes_panoptic_train/'),
            metainfo=metainfo,
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
            ann_file='gtFine/cityscapes_panoptic_val.json',
            data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/cityscapes_panoptic_val/'),
            metainfo=metainfo,
            backend_args=backend_args,
        ),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IncrementalPanopticMetric')
test_evaluator = val_evaluator
