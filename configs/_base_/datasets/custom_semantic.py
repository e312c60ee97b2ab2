# One's own data with a label map per image. The leaf config sets data_root, the scenario, which
# names the classes, what the values of the maps mean, and the folders if they are others.
_base_ = 'semantic.py'
step = {{'$STEP:0'}}
scenario = dict(setting='{{$SETTING:overlap}}', step=step, background=None)
data_root = 'data/custom/'
# length of the shorter side, pixels; crops, padding and the sizes at test follow
image_size = 512
# of all loaders; the names of the classes are those of the scenario
dataset = dict(metainfo='scenario')

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
