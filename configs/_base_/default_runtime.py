default_scope = 'mmdet'
custom_imports = dict(imports=['mmcomformer'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    # metrics at the iteration that they are of, in scalars.json, TensorBoard and W&B
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    finite_loss=dict(type='FiniteLossHook'),
    # the last raw checkpoint of a step is the teacher of the next one; the one before is there in
    # case the disk spoils the last
    checkpoint=dict(
        type='SafeCheckpointHook', by_epoch=False, interval=2000, save_last=True, max_keep_ckpts=2
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    buffers=dict(type='BroadcastBuffersHook'),
    visualization=dict(type='DetVisualizationHook'),
    memory=dict(type='PeakMemoryHook'),
    # the page of the run, work_dirs/<run>/report.html
    report=dict(type='ReportHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # seconds after which a process that does not answer counts as lost; longer than the class index
    # of a large set takes at the first start
    dist_cfg=dict(backend='nccl', timeout=1800),
)
vis_backends = [
    dict(type='LocalVisBackend'),
    dict(type='TensorboardVisBackend'),
    # dict(
    #     type='WandbVisBackend',
    #     init_kwargs=dict(project='mmcomformer'),
    #     define_metric_cfg=[dict(name='*', step_metric='run_iter')],
    # ),
]
visualizer = dict(type='PanopticVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)

# another number of GPUs or another batch size scales the learning rate; base_batch_size is the
# recipe's total batch
auto_scale_lr = dict(enable=True, base_batch_size=8)
