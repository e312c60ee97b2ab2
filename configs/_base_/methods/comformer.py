# CoMFormer: the teacher of step t-1 distils its classes and labels what step t leaves unlabelled
method = dict(
    key='{{fileBasenameNoExtension}}',
    name='CoMFormer',
    hooks=[dict(type='PseudoLabelHook', score_thr=0.0, overlap_thr=0.5)],
)
