# What the semantic datasets share: loaders, the pipelines of ADE20K's recipe, test-time
# augmentation, the metric. A dataset adds its type and folders.
backend_args = None
# width and height; what pads, the model included, follows it
crop_size = (512, 512)

load_map = dict(type='LoadSemanticMap', backend_args=backend_args)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    load_map,
    dict(
        type='RandomChoiceResize',
        scales=[int(512 * 0.1 * k) for k in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2048,
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    # to the size of the crop, in grey and not labelled, as the released program pads
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSemanticInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    load_map,
    dict(type='PackSemanticInputs'),
]
# of the test pipeline's size
tta_ratios = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(2048 * r), int(512 * r)), keep_ratio=True)
                for r in tta_ratios
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [load_map],
            [dict(type='PackSemanticInputs')],
        ],
    ),
]
tta_model = dict(type='ContinualSegTTAModel')

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ContinualSampler', shuffle=True),
    dataset=dict(
        type='IncrementalDataset',
        # of the run
        scenario=dict(),
        dataset=dict(type='BaseSegDataset', backend_args=backend_args),
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
        dataset=dict(type='BaseSegDataset', backend_args=backend_args),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IncrementalIoUMetric')
test_evaluator = val_evaluator
