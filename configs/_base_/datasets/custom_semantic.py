# One's own data with a label map per image. The leaf config sets data_root, the names of the
# classes (metainfo), what the values of the maps mean, and the folders if they are others.
_base_ = 'semantic.py'
data_root = 'data/custom/'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            data_prefix=dict(img_path='images/train/', seg_map_path='labels/train/'),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            data_prefix=dict(img_path='images/val/', seg_map_path='labels/val/'),
        ),
    ),
)
test_dataloader = val_dataloader
