# What the instance datasets share: loaders, the pipelines of ADE20K's recipe, the metric. A dataset
# adds its type, folders and files.
backend_args = None
# width and height; what pads, the model included, follows it
crop_size = (640, 640)

_meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
pack_train = dict(type='PackDetInputs', meta_keys=_meta)
# the metric takes the ground truth from the annotations
pack_test = dict(type='PackDetInputs', meta_keys=(*_meta, 'segments'))
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadInstanceMasks'),
    dict(
        type='RandomChoiceResize',
        scales=[int(640 * 0.1 * k) for k in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2560,
    ),
    dict(type='RandomCrop', crop_size=crop_size, recompute_bbox=True),
    dict(type='FilterAnnotations', by_box=False, by_mask=True, keep_empty=False),
    dict(type='SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    # to the size of the crop, in grey
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, masks=0)),
    pack_train,
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    pack_test,
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ContinualSampler', shuffle=True),
    dataset=dict(
        type='IncrementalDataset',
        # of the run
        scenario=dict(),
        dataset=dict(type='CocoDataset', backend_args=backend_args),
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
        # of the run
        scenario=dict(),
        dataset=dict(type='CocoDataset', backend_args=backend_args),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IncrementalInstanceMetric')
test_evaluator = val_evaluator
