# ADE20K (SceneParse150 with instances), as our tools/dataset_converters/ade20k.py, mmdet's
# ade20k2coco.py and Mask2Former's prepare_ade20k_pan_seg.py write it
_base_ = 'panoptic.py'
data_root = 'data/ADEChallengeData2016/'
# two categories have other names in the files of Mask2Former's script
category_aliases = {'window ': 'window', 'plane': 'airplane'}

# The latter two paste things over stuff, which may leave a listed stuff segment without a pixel
load_id_map = dict(_base_.load_id_map, allow_empty_segments=True)
train_pipeline = [load_id_map if t == _base_.load_id_map else t for t in _base_.train_pipeline]
test_pipeline = [load_id_map if t == _base_.load_id_map else t for t in _base_.test_pipeline]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KPanopticDataset',
            data_root=data_root,
            ann_file='ade20k_panoptic_train.json',
            data_prefix=dict(img='images/training/', seg='ade20k_panoptic_train/'),
        ),
        category_aliases=category_aliases,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KPanopticDataset',
            data_root=data_root,
            ann_file='ade20k_panoptic_val.json',
            data_prefix=dict(img='images/validation/', seg='ade20k_panoptic_val/'),
        ),
        category_aliases=category_aliases,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
