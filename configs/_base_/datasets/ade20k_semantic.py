# ADE20K (SceneParse150) in mmseg's layout: images/ and annotations/, as they are in the archive of
# ADEChallengeData2016. In the label maps 0 is not labelled (reduce_zero_label).
_base_ = 'semantic.py'
data_root = 'data/ADEChallengeData2016/'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/training/', seg_map_path='annotations/training/'),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/validation/', seg_map_path='annotations/validation/'),
        ),
    ),
)
test_dataloader = val_dataloader
