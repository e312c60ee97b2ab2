_base_ = [
    '_base_/models/comformer_tiny_semantic.py',
    '_base_/datasets/shapes_semantic.py',
    '_base_/scenarios/shapes_semantic_6-3.py',
    '_base_/schedules/shapes.py',
    '_base_/methods/comformer_semantic.py',
    '_base_/default_runtime_semantic.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

model = dict(decode_head=dict(scenario=scenario, loss_distill=dict(loss_weight=1.0)))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))

max_iters = 1000 if step == 0 else 500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
# at the full rate a later step forgot up to 17 points with some seeds
optim_wrapper = dict(optimizer=dict(lr=1e-3 if step == 0 else 5e-4))
default_hooks = dict(checkpoint=dict(interval=100))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)
]
auto_scale_lr = dict(base_batch_size=8)
