"""The configs that come with the package, by name, wherever they are installed."""

from __future__ import annotations

from pathlib import Path

SCOPE = 'mmcomformer::'
"""What begins the name of a config of this package in ``_base_``."""
_PACKAGE = Path(__file__).resolve().parent


def config_folder() -> Path:
    """Return the folder of the configs: of the checkout, or what a wheel installs.

    Raises:
        FileNotFoundError: If there is neither.
    """
    for folder in (_PACKAGE.parent / 'configs', _PACKAGE / '.mim' / 'configs'):
        # site-packages may have a folder called configs of somebody else
        if (folder / 'metafile.yml').is_file():
            return folder
    raise FileNotFoundError(
        f'the configs of mmcomformer are neither beside {_PACKAGE} nor in its folder .mim; install '
        f'it anew'
    )


def config_names() -> list[str]:
    """Return the names of the configs that can be run, with their extension, sorted."""
    return sorted(path.name for path in config_folder().glob('*.py'))


def method_names(*folders: Path) -> list[str]:
    """Return the methods that METHOD can choose: the package's, and those of other config folders.

    The former bases of semantic segmentation, ``<method>_semantic``, are not among them.
    """
    bases = [folder / '_base_' / 'methods' for folder in (config_folder(), *folders)]
    names = {path.stem for base in bases for path in base.glob('*.py')}
    return sorted(name for name in names if not name.endswith('_semantic'))


def find_config(name: str) -> Path | None:
    """Return the file of a config: the one of that path, or else the package's of that name.

    Args:
        name: A path; or the name of a config of the package, with ``mmcomformer::`` before it or
            not, and with its extension or not. Folders in front are those below ``configs/``.

    Returns:
        Its path; None if there is no such config.

    Example:
        >>> find_config('comformer_shapes_6-3').name
        'comformer_shapes_6-3.py'
    """
    plain = name.removeprefix(SCOPE)
    if plain == name and Path(name).is_file():
        return Path(name)
    folder = config_folder()
    for candidate in (plain, f'{plain}.py', plain.removeprefix('configs/')):
        path = folder / candidate
        if path.is_file() and path.resolve().is_relative_to(folder):
            return path
    return None


def resolve_own_configs() -> None:
    """Let ``_base_ = 'mmcomformer::comformer_shapes_6-3.py'`` work in configs anywhere.

    mmengine resolves such names for a fixed list of packages, and only below folders.
    """
    # a wrong version of mmengine is reported before its modules are imported
    from mmengine.config import Config

    resolve = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if not cfg_path.startswith(SCOPE):
            return resolve(cfg_path, filename)
        path = find_config(cfg_path)
        if path is None:
            raise FileNotFoundError(
                f'{filename}: _base_: mmcomformer has no config {cfg_path.removeprefix(SCOPE)!r}; '
                f'its configs are in {config_folder()}'
            )
        # components are named as in a config of the same folder, without a library before them
        return str(path), None

    Config._get_cfg_path = staticmethod(get_cfg_path)
