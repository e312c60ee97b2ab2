_base_ = [
    '_base_/models/comformer_r101_semantic.py',
    '_base_/datasets/voc_semantic.py',
    '_base_/scenarios/voc_15-5.py',
    '_base_/schedules/comformer_160k.py',
    '_base_/methods/comformer_semantic.py',
    '_base_/default_runtime_semantic.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

model = dict(decode_head=dict(scenario=scenario, loss_distill=dict(loss_weight=10.0)))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))

# our choice: 30k iterations for the base classes, then as on ADE20K 400 for each new class
max_iters = 30000 if step == 0 else 400 * scenario['increments'][step]
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-4 if step == 0 else 5e-5))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
