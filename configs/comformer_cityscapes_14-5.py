_base_ = [
    '_base_/models/comformer_r50.py',
    '_base_/datasets/cityscapes_panoptic.py',
    '_base_/scenarios/cityscapes_14-5.py',
    '_base_/schedules/comformer_160k.py',
    '_base_/methods/comformer.py',
    '_base_/default_runtime.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

crop_size = (512, 1024)
pad = dict(type='BatchFixedSizePad', size=crop_size, img_pad_value=0)
model = dict(
    data_preprocessor=dict(batch_augments=[pad]),
    panoptic_head=dict(scenario=scenario, loss_distill=dict(loss_weight=10.0)),
)
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))

# Mask2Former's schedule for the base step; then, as on ADE20K, 400 for each new class
max_iters = 90000 if step == 0 else 400 * scenario['increments'][step]
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-4 if step == 0 else 5e-5))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
