# PLOP on the scenario of comformer_shapes_6-3.py
_base_ = [
    '_base_/models/comformer_tiny.py',
    '_base_/datasets/shapes_panoptic.py',
    '_base_/scenarios/shapes_6-3.py',
    '_base_/schedules/shapes.py',
    '_base_/methods/plop.py',
    '_base_/default_runtime.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

new, seen = scenario['increments'][step], sum(scenario['increments'][: step + 1])
model = dict(
    panoptic_head=dict(scenario=scenario, loss_distill=None),
    loss_feature=dict(type='PodLoss', loss_weight=0.001 * (new / seen) ** 0.5),
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
