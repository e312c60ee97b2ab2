"""Importing the libraries without their notes on what this package does not use."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

QUIET = tuple(
    re.compile(pattern)
    for pattern in (
        # libraries that call their own or torch's former names
        r'torch\.meshgrid: in an upcoming release',
        r'`?torch\.(cuda|cpu)\.amp\.\w+\(args\.\.\.\)`? is deprecated',
        r'"FileClient" will be deprecated in future',
        r'"HardDiskBackend" is the alias of "LocalBackend"',
        r'pkg_resources is deprecated as an API',
        # how several processes share a CPU, and how its DDP is told to leave buffers alone
        r'Setting (MKL|OMP)_NUM_THREADS environment variable',
        r'`broadcast_buffers` is deprecated',
        # a loader asks for pinned memory where there is no accelerator
        r"'pin_memory' argument is set as true but no accelerator is found",
        # the first iteration with AMP may skip its update
        r'Detected call of `(lr_)?scheduler\.step\(\)` before `optimizer\.step\(\)`',
        # a picture is drawn without a folder for the records of a training
        r'The draw is False, it means that the hook for visualization will not take effect',
        r'`Visualizer` backend is not initialized because save_dir is None',
    )
)
"""Beginnings of warnings of the libraries that a user can do nothing about."""

_NOISY = ('mmdet.datasets', 'mmdet.evaluation', 'mmseg.datasets')


class _QuietFinder(MetaPathFinder):
    """Finder of the noisy packages that runs them without their notes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a noisy package, whose loader drops its notes; None for any other."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _NOISY else None
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            loader.exec_module = _quietly(loader.exec_module)
        return spec


def _quietly(run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def run_quietly(module: ModuleType) -> None:
        with without_notes():
            run(module)

    return run_quietly


def silence_imports() -> None:
    """Drop the notes on optional packages that this package does not use; imports nothing.

    OneDL's mmdet and mmseg print that the package ``onedl`` is missing, and mmdet warns that
    ``faster_coco_eval`` is.
    """
    if not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


def silence_warnings() -> None:
    """Drop the warnings of :data:`QUIET`, by their message; any other stays."""
    for pattern in QUIET:
        warnings.filterwarnings('ignore', message=pattern.pattern)


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """Drop those notes. All other output and every error pass."""
    output = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output):
            warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
            yield
    finally:
        lines = output.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(x for x in lines if not x.startswith('Could not import OneDL'))
