_base_ = 'comformer_voc_10-1.py'
work_dir = f'./work_dirs/{{fileBasenameNoExtension}}/step{_base_.step}'

scenario = dict(setting='disjoint')
model = dict(decode_head=dict(scenario=scenario))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))
