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
