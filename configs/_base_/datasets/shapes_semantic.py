# Shapes, the embedded benchmark, with its label maps; tools/make_shapes.py generates it
_base_ = 'semantic.py'
data_root = 'data/shapes/'
crop_size = (96, 96)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    _base_.load_map,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSemanticInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    # after the resizing: the ground truth keeps the size of the image file
    _base_.load_map,
    dict(type='PackSemanticInputs'),
]
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(96 * r), int(96 * r)), keep_ratio=True)
                for r in _base_.tta_ratios
            ],
            *_base_.tta_pipeline[1].transforms[1:],
        ],
    ),
]

# loading takes about half a millisecond per image, so no worker processes
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        dataset=dict(
            type='ShapesSemanticDataset',
            data_root=data_root,
            data_prefix=dict(img_path='train/', seg_map_path='semantic_train/'),
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
            type='ShapesSemanticDataset',
            data_root=data_root,
            data_prefix=dict(img_path='val/', seg_map_path='semantic_val/'),
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
