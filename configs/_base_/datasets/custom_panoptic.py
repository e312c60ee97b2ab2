# One's own data in COCO's panoptic format. The leaf config sets data_root and the scenario, which
# names the classes, and the file names if they are others.
_base_ = 'panoptic.py'
step = {{'$STEP:0'}}
scenario = dict(setting='{{$SETTING:overlap}}', step=step)
data_root = 'data/custom/'
# length of the shorter side, pixels; crops, padding and the sizes at test follow
image_size = 640
# of all loaders; the names of the classes are those of the scenario
dataset = dict(metainfo='scenario')

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
