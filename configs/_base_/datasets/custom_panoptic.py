# One's own data in COCO's panoptic format. The leaf config sets data_root and the names of the
# classes (metainfo), and the file names if they are others.
_base_ = 'panoptic.py'
data_root = 'data/custom/'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='panoptic_train.json',
            data_prefix=dict(img='images/train/', seg='panoptic_train/'),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='panoptic_val.json',
            data_prefix=dict(img='images/val/', seg='panoptic_val/'),
        ),
    ),
)
test_dataloader = val_dataloader
