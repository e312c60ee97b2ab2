"""Python processes of their own, for what depends on which modules are imported, and when."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_python(code, *first_on_path, options=()):
    """Run code outside the checkout, with the sources and these folders before them on the path."""
    paths = [*map(str, first_on_path), str(ROOT)]
    return subprocess.run(
        [sys.executable, *options, '-c', code],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        cwd='/',
    )


def registered():
    """Return registry and name of what modules of the package have registered in this process."""
    from mmengine import registry as module

    return sorted(
        [registry.name, name]
        for registry in vars(module).values()
        if isinstance(registry, module.Registry)
        for name, item in registry.module_dict.items()
        if item.__module__.startswith('mmcomformer.')
    )
