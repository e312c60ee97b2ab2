# A template for one's own label maps: docs/custom_dataset.md, section 7
_base_ = [
    '_base_/models/comformer_r101_semantic.py',
    '_base_/datasets/custom_semantic.py',
    '_base_/schedules/comformer_160k.py',
    '_base_/methods/comformer_semantic.py',
    '_base_/default_runtime_semantic.py',
]
step = {{'$STEP:0'}}
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{step}'

# edit these
data_root = 'data/pets/'
classes = ['cat', 'dog', 'grass', 'sky']
class_order = ['grass', 'cat', 'sky', 'dog']
increments = [2, 2]
background = None
reduce_zero_label = False
setting = '{{$SETTING:overlap}}'
base_iters = 20000

names = dict(stuff_classes=classes, class_order=class_order, background=background)
scenario = dict(names, increments=increments, setting=setting, step=step)
model = dict(decode_head=dict(scenario=scenario))
labels = dict(metainfo=dict(classes=classes), reduce_zero_label=reduce_zero_label)
inner = dict(labels, data_root=data_root, img_suffix='.jpg', seg_map_suffix='.png')
train_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))
val_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))
test_dataloader = dict(dataset=dict(dataset=inner, scenario=scenario))

max_iters = base_iters if step == 0 else 400 * increments[step]
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-4 if step == 0 else 5e-5))
param_scheduler = [dict(type='PolyLR', power=0.9, end=max_iters + 1, by_epoch=False)]
