# A template for one's own data: docs/custom_dataset.md
_base_ = [
    '_base_/models/comformer_r50.py',
    '_base_/datasets/custom_panoptic.py',
    '_base_/schedules/comformer_160k.py',
    '_base_/methods/comformer.py',
    '_base_/default_runtime.py',
]
step = {{'$STEP:0'}}
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{step}'

# edit these
data_root = 'data/pets/'
thing_classes = ['cat', 'dog']
stuff_classes = ['grass', 'sky']
class_order = ['grass', 'cat', 'sky', 'dog']
increments = [2, 2]
setting = '{{$SETTING:overlap}}'
base_iters = 20000

names = dict(thing_classes=thing_classes, stuff_classes=stuff_classes)
scenario = dict(names, increments=increments, class_order=class_order, setting=setting, step=step)
model = dict(panoptic_head=dict(scenario=scenario))
inner = dict(data_root=data_root, metainfo=dict(classes=thing_classes + stuff_classes, **names))
train_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))
val_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))
test_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))

max_iters = base_iters if step == 0 else 400 * increments[step]
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-4 if step == 0 else 5e-5))
param_scheduler = [dict(type='PolyLR', power=0.9, end=max_iters + 1, by_epoch=False)]
