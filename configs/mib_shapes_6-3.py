# MiB on the scenario of comformer_shapes_6-3.py
_base_ = [
    '_base_/models/comformer_tiny.py',
    '_base_/datasets/shapes_panoptic.py',
    '_base_/scenarios/shapes_6-3.py',
    '_base_/schedules/shapes.py',
    '_base_/methods/mib.py',
    '_base_/default_runtime.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

model = dict(
    panoptic_head=dict(
        scenario=scenario,
        loss_cls=dict(type='UnbiasedClassLoss', scenario=scenario),
        loss_distill=dict(adaptive=False, loss_weight=200.0),
    )
)
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))

max_iters = 1000 if step == 0 else 500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=100))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)
]
