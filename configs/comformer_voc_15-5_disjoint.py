_base_ = 'comformer_voc_15-5.py'
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

scenario = dict(setting='disjoint')
model = dict(decode_head=dict(scenario=scenario))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))
