# BalConpas: the teacher of step t-1 holds the tokens of queries on past classes and labels what
# step t leaves unlabelled; the losses know which images are from memory. Mask2Former otherwise.
_base_ = 'mask2former.py'
custom_hooks = [
    dict(
        type='PseudoLabelHook',
        labeller=dict(
            type='MaskPseudoLabels', share='strong', score_thr=0.0, overlap_thr=0.8, memory=False
        ),
    ),
    dict(type='SummaryHook', method='BalConpas'),
]
method = dict(
    key='{{fileBasenameNoExtension}}',
    at_once=False,
    model=dict(
        extra_losses=dict(token=dict(type='BacktraceDistillLoss', loss_weight=5.0)),
    ),
    released=dict(
        config=dict(
            schedule=dict(iters_per_class=1000),
            train_dataloader=dict(batch_size=8),
            auto_scale_lr=dict(base_batch_size=8),
        ),
    ),
)
