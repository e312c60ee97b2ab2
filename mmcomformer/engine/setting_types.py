"""Types of the settings that no class takes: those at the top of a config, and dicts of options.

Each class lists the keys of one dict, and what each may be. They only describe: configs are plain.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, get_type_hints


class TopLevel(TypedDict, total=False):
    """What mmengine's Runner is given, and what the tools read besides."""

    model: dict[str, Any]
    work_dir: str | None
    train_dataloader: dict[str, Any]
    val_dataloader: dict[str, Any] | None
    test_dataloader: dict[str, Any] | None
    train_cfg: dict[str, Any]
    val_cfg: dict[str, Any] | None
    test_cfg: dict[str, Any] | None
    auto_scale_lr: dict[str, Any] | None
    optim_wrapper: dict[str, Any]
    param_scheduler: dict[str, Any] | list[Any] | None
    val_evaluator: dict[str, Any] | list[Any] | None
    test_evaluator: dict[str, Any] | list[Any] | None
    default_hooks: dict[str, Any]
    custom_hooks: list[Any] | None
    data_preprocessor: dict[str, Any] | None
    load_from: str | None
    resume: bool
    launcher: Literal['none', 'pytorch', 'slurm', 'mpi']
    env_cfg: dict[str, Any]
    log_processor: dict[str, Any] | None
    log_level: Literal['CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG']
    visualizer: dict[str, Any] | None
    default_scope: str | None
    randomness: dict[str, Any]
    experiment_name: str | None
    custom_imports: dict[str, Any]
    model_wrapper_cfg: dict[str, Any] | None
    sync_bn: Literal['torch', 'mmcv', None]
    find_unused_parameters: bool
    activation_checkpointing: str | list[str] | None
    efficient_conv_bn_eval: str | list[str] | None
    compile: bool | dict[str, Any]
    tta_model: dict[str, Any] | None
    tta_pipeline: list[Any] | None


class _Randomness(TypedDict, total=False):
    seed: int | None
    diff_rank_seed: bool
    deterministic: bool


class _AutoScale(TypedDict, total=False):
    enable: bool
    base_batch_size: int


class _Environment(TypedDict, total=False):
    cudnn_benchmark: bool
    mp_cfg: dict[str, Any]
    dist_cfg: dict[str, Any]
    resource_limit: int


class _Processes(TypedDict, total=False):
    mp_start_method: Literal['fork', 'spawn', 'forkserver']
    opencv_num_threads: int


class _Distributed(TypedDict, total=False):
    backend: str
    init_backend: str
    timeout: float
    # of torch's init_process_group
    init_method: str | None
    world_size: int
    rank: int
    store: Any
    group_name: str
    pg_options: Any
    device_id: Any
    # of the launchers
    port: int | str


class _TrainOptions(TypedDict, total=False):
    match_cost: list[Any] | dict[str, Any]
    num_points: int
    oversample_ratio: float
    importance_sample_ratio: float
    assigner: dict[str, Any] | None
    sampler: dict[str, Any] | None


class _TestOptions(TypedDict, total=False):
    panoptic_on: bool
    semantic_on: bool
    instance_on: bool
    max_per_image: int
    object_mask_thr: float
    iou_thr: float
    split_share: float | None
    mode: Literal['whole', 'slide']
    stride: Any
    crop_size: Any
    batched_slide: bool


class _Clipping(TypedDict, total=False):
    type: Literal['norm', 'value']
    max_norm: float
    norm_type: float | str
    error_if_nonfinite: bool
    foreach: bool | None
    clip_value: float


class _Factors(TypedDict, total=False):
    backbone_lr_mult: float
    norm_decay_mult: float | None
    embed_decay_mult: float | None


class _StockFactors(TypedDict, total=False):
    custom_keys: dict[str, Any]
    bias_lr_mult: float | None
    bias_decay_mult: float | None
    norm_decay_mult: float | None
    dwconv_decay_mult: float | None
    flat_decay_mult: float | None
    bypass_duplicate: bool
    dcn_offset_lr_mult: float | None


TOP_LEVEL = get_type_hints(TopLevel)
DICTS: dict[str, dict[str, Any]] = {
    'randomness': get_type_hints(_Randomness),
    'auto_scale_lr': get_type_hints(_AutoScale),
    'env_cfg': get_type_hints(_Environment),
    'env_cfg.mp_cfg': get_type_hints(_Processes),
    'env_cfg.dist_cfg': get_type_hints(_Distributed),
    'model.train_cfg': get_type_hints(_TrainOptions),
    'model.test_cfg': get_type_hints(_TestOptions),
    'optim_wrapper.clip_grad': get_type_hints(_Clipping),
}
"""Keys and their types, of dicts that no class takes, by the place of the dict."""
FACTORS: dict[str, dict[str, Any]] = {
    'ContinualOptimWrapperConstructor': get_type_hints(_Factors),
    'DefaultOptimWrapperConstructor': get_type_hints(_StockFactors),
}
"""The same of ``optim_wrapper.paramwise_cfg``, by the constructor that reads it."""
HOOKS = (
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'),
    *('finite_loss', 'buffers', 'visualization'),
)
"""Names of ``default_hooks`` that stand for something; others are free."""
