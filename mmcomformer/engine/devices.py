"""Whether a device that was asked for is there."""

from __future__ import annotations

import torch


def check_device(device: str | None) -> None:
    """Check that there is a device of a name.

    Args:
        device: Such as ``cuda:0`` or ``cpu``; None for what is there.

    Raises:
        ValueError: If the name is none of a device, or this machine has no such device.
    """
    if device is None:
        return
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"--device: expected such as 'cuda:0' or 'cpu', got {device!r}") from error
    if wanted.type == 'cpu':
        return
    module = getattr(torch, wanted.type, None)
    if module is None or not hasattr(module, 'is_available') or not module.is_available():
        raise ValueError(
            f'--device {device}: torch finds no {wanted.type} device on this machine; leave it '
            f'out to take what is there, or pass --device cpu'
        )
    count = module.device_count()
    if wanted.index is not None and wanted.index >= count:
        raise ValueError(
            f'--device {device}: this machine has {count} devices, numbered from 0; pass another '
            f'number'
        )
