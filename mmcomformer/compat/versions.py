"""Which versions of which libraries the package works with."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.util import find_spec

INSTALL_HINT = (
    "install them with: pip install 'mmcomformer[onedl]' "
    "(or 'mmcomformer[openmmlab]' for the stock OpenMMLab releases)"
)

# lowest supported version (inclusive), first unsupported version
SUPPORTED = {
    'torch': ((2, 4), (3,)),  # the first with an allow-list for weights_only
    'mmengine': ((0, 10, 7), (0, 11)),
    'mmcv': ((2, 1), (2, 4)),
    'mmdet': ((3, 3), (3, 6)),
    'mmseg': ((1, 2, 2), (1, 5)),
}


def check_installed() -> None:
    """Check that every library is installed, without importing one that is slow to import.

    Raises:
        ImportError: It names the library, and the line that installs it.
    """
    for name in SUPPORTED:
        if name not in sys.modules and find_spec(name) is None:
            raise ImportError(
                f'mmcomformer needs {name} {_supported(name)}, which is not installed; '
                f'{INSTALL_HINT}'
            )


def check_versions(*names: str) -> None:
    """Check that libraries can be imported and are of a supported version.

    Args:
        names: Their names; all that the package needs by default.

    Raises:
        ImportError: It names the library, the version found and the line that installs it.
    """
    for name in names or SUPPORTED:
        try:
            # mmcv, mmdet and mmseg check each other's versions when imported
            version = importlib.import_module(name).__version__
        except (ImportError, AssertionError, AttributeError) as error:
            raise ImportError(
                f'mmcomformer needs {name} {_supported(name)}, which cannot be imported '
                f'({error}); {INSTALL_HINT}'
            ) from error
        lowest, end = SUPPORTED[name]
        if not lowest <= _numbers(version) < end:
            raise ImportError(
                f'mmcomformer needs {name} {_supported(name)}, but {version} is installed; '
                f'{INSTALL_HINT}'
            )


def _supported(name: str) -> str:
    lowest, end = SUPPORTED[name]
    return f'>={_dotted(lowest)},<{_dotted(end)}'


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version, without suffixes such as ``rc1`` or ``+cpu``."""
    release = re.match(r'\d+(\.\d+)*', version)
    return tuple(map(int, release[0].split('.'))) if release else ()
