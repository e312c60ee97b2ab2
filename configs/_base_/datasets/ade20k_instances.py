# The instances of ADE20K, as our tools/dataset_converters/ade20k.py --instances and Mask2Former's
# prepare_ade20k_ins_seg.py write them
_base_ = 'instances.py'
data_root = 'data/ADEChallengeData2016/'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KInstanceDataset',
            data_root=data_root,
            ann_file='ade20k_instance_train.json',
            data_prefix=dict(img='images/training/'),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='ADE20KInstanceDataset',
            data_root=data_root,
            ann_file='ade20k_instance_val.json',
            data_prefix=dict(img='images/validation/'),
        ),
    ),
)
test_dataloader = val_dataloader
