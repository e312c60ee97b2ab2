"""Which config a method has for a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config_files import method_names

_ANCHOR = 'comformer'
"""The method that has a config for every scenario."""


def scenarios_of(configs: Path) -> list[str]:
    """Return the scenarios that have configs, such as ``shapes_6-3``."""
    prefix = f'{_ANCHOR}_'
    return sorted(path.stem.removeprefix(prefix) for path in configs.glob(f'{prefix}*.py'))


def methods_of(configs: Path, scenario: str) -> list[str]:
    """Return the methods that have a config for a scenario, or can be chosen with METHOD."""
    if not _anchor(configs, scenario).is_file():
        return []
    # a folder of one's own may inherit the methods from the package
    return method_names(configs)


def _anchor(configs: Path, scenario: str) -> Path:
    return configs / f'{_ANCHOR}_{scenario}.py'


def find_leaves(configs: Path, scenario: str, methods: Sequence[str]) -> dict[str, Path]:
    """Return the config of each method: its own, or the one in which METHOD chooses it.

    Args:
        configs: Folder of the configs.
        scenario: Such as ``shapes_6-3``.
        methods: Such as ``['finetune', 'comformer']``.

    Raises:
        ValueError: If the scenario has no configs, or a method is given twice or does not exist;
            the message lists those that do.
    """
    anchor, known = _anchor(configs, scenario), methods_of(configs, scenario)
    if not known:
        there = ', '.join(scenarios_of(configs))
        expected = f'one of {there}' if there else f'a folder with configs {_ANCHOR}_SCENARIO.py'
        raise ValueError(
            f'scenario {scenario!r}: {configs} has no {anchor.name}; expected {expected}'
        )
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise ValueError(
            f'--methods {",".join(unknown)}: no such method; expected some of {", ".join(known)}'
        )
    if len(set(methods)) < len(methods):
        raise ValueError(f'--methods {",".join(methods)}: a method is given twice')
    own = {method: configs / f'{method}_{scenario}.py' for method in methods}
    return {method: path if path.is_file() else anchor for method, path in own.items()}
