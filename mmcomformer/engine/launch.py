"""Processes and devices: what mmengine's launchers leave out."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from functools import cache

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist
from mmengine.logging import print_log
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed

from ..compat.deterministic import enable_determinism

_RANK = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
"""Environment variable in which each launcher says which process this is."""


def is_first_process(launcher: str) -> bool:
    """Tell whether this is the process that logs, before there is a process group.

    Args:
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    return launcher == 'none' or os.environ.get(_RANK[launcher], '0') == '0'


def prepare_device(cfg: Config, *, launcher: str, amp: bool = False) -> None:
    """Adapt a config to the launcher and to a machine without an accelerator, in place.

    mmengine's launchers select a GPU by number, and its DDP wrapper passes device ids; on a CPU
    both fail. So there the process group is made here, with gloo. On CUDA, operators that a
    deterministic training needs take the place of others.

    Args:
        cfg: The config of a run.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        amp: Whether the user asked for automatic mixed precision.

    Raises:
        ValueError: If AMP, SyncBN or the launcher needs an accelerator that is not there, or the
            launcher has not been used.
    """
    cfg.launcher = launcher
    if launcher == 'pytorch' and _RANK[launcher] not in os.environ:
        raise ValueError(
            '--launcher pytorch: expected to be started by torch.distributed.run, which sets RANK; '
            'use tools/dist_train.sh or tools/dist_test.sh'
        )
    device = get_device()
    if amp and device not in _ACCELERATORS:
        raise ValueError(
            f'--amp: automatic mixed precision needs an accelerator, one of {_ACCELERATORS}, and '
            f'this machine has {device}; leave it out'
        )
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if device not in _ACCELERATORS:
        _use_float32(cfg, device, launcher)
    if device == 'cuda' and (cfg.get('randomness') or {}).get('deterministic'):
        enable_determinism()
    if launcher != 'none':
        _start_processes(cfg, device, launcher)


_ACCELERATORS = ('cuda', 'npu', 'mlu', 'musa')
"""Devices on which mmengine trains with AMP and its launchers start processes; ``mps`` is none."""


def _use_float32(cfg: Config, device: str, launcher: str) -> None:
    if cfg.get('optim_wrapper', {}).get('type') != 'AmpOptimWrapper':
        return
    if is_first_process(launcher):
        _tell_float32(device)
    cfg.optim_wrapper.type = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        cfg.optim_wrapper.pop(key, None)


@cache
def _tell_float32(device: str) -> None:
    """Say once, not for every step, what is not done."""
    print_log(
        f'no accelerator: training in float32 instead of AMP (this machine has {device})',
        logger='current',
        level=logging.WARNING,
    )


def _start_processes(cfg: Config, device: str, launcher: str) -> None:
    """Make the process group before anything is decided, with the config's timeout."""
    env_cfg = cfg.get('env_cfg') or {}
    dist_cfg = dict(env_cfg.get('dist_cfg') or {})
    if device in _ACCELERATORS:
        if not distributed.is_initialized():
            # its start method has to be chosen before mmengine chooses one
            set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)
            init_dist(launcher, **dist_cfg)
        return
    if launcher != 'pytorch' or device != 'cpu':
        raise ValueError(
            f'--launcher {launcher}: without an accelerator only the pytorch launcher works, and '
            f'on a CPU only; this machine has {device}'
        )
    _check_norms(cfg)
    if not distributed.is_initialized():
        timeout = dist_cfg.get('timeout')
        distributed.init_process_group(
            'gloo', timeout=None if timeout is None else timedelta(seconds=timeout)
        )
        torch.set_num_threads(max(1, torch.get_num_threads() // distributed.get_world_size()))
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )


def _check_norms(cfg: Config) -> None:
    """Check that no batch norm is synchronised, which torch cannot do on a CPU.

    Raises:
        ValueError: If one is; the message says how to change it.
    """
    norm = cfg.model.get('backbone', {}).get('norm_cfg') or {}
    if norm.get('type') in ('SyncBN', 'MMSyncBN'):
        raise ValueError(
            f'model.backbone.norm_cfg: {norm["type"]} needs an accelerator in several processes; '
            f'train in one process, or set --cfg-options model.backbone.norm_cfg.type=BN'
        )
