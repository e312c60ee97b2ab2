"""On what a training ran."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import torch

from ..compat.versions import SUPPORTED
from ..version import __version__


def describe_machine() -> dict[str, Any]:
    """Return ``device``, its name, and ``versions`` by name, those of libraries that are loaded."""
    loaded = {name: getattr(sys.modules.get(name), '__version__', None) for name in SUPPORTED}
    versions = {
        'mmcomformer': __version__,
        'python': platform.python_version(),
        **{name: str(version) for name, version in loaded.items() if version is not None},
    }
    if torch.cuda.is_available():
        versions['cuda'] = str(torch.version.cuda)
        return {'device': torch.cuda.get_device_name(), 'versions': versions}
    return {'device': _processor(), 'versions': versions}


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    named = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return f'CPU, {next(named, platform.processor() or platform.machine())}'
