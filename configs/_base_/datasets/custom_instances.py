# One's own data in COCO's instance format: polygons or run lengths. The leaf config sets data_root
# and the scenario, which names the classes, and the file names if they are others.
_base_ = 'instances.py'
step = {{'$STEP:0'}}
scenario = dict(setting='{{$SETTING:overlap}}', stuff_classes=[], step=step)
data_root = 'data/custom/'
# length of the shorter side, pixels; crops, padding and the sizes at test follow
image_size = 640
# of all loaders; the names of the classes are those of the scenario
dataset = dict(metainfo='scenario')

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='instances_train.json',
            data_prefix=dict(img='images/train/'),
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='instances_val.json',
            data_prefix=dict(img='images/val/'),
        ),
    ),
)
test_dataloader = val_dataloader
