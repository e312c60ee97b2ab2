"""Parts of a model that a step does not train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from ..spelling import check_keys
from .growing import newest_parameters

_KEYS = {'names', 'keep', 'keep_newest', 'from_step'}


def frozen_parameters(model: nn.Module, freeze: Mapping[str, Any] | None, step: int) -> set[str]:
    """Return the names of the parameters that a config freezes at a step.

    Args:
        model: The model, before it is wrapped and before its optimizer is built.
        freeze: ``names``, patterns with ``*`` of names of parameters to freeze, such as
            ``backbone.*``; ``keep`` (none by default), patterns of those among them that are
            trained all the same; ``keep_newest`` (False by default), whether that also holds for
            what the step adds to the model; ``from_step`` (1 by default), the first step that
            freezes. None freezes nothing.
        step: The current step.

    Raises:
        TypeError: If a key is unknown, or patterns are not in a list.
        ValueError: If a pattern matches no parameter.
    """
    if freeze is None:
        return set()
    check_keys('model.freeze', freeze, _KEYS)
    names = [name for name, _ in model.named_parameters()]
    frozen = _matching('names', freeze.get('names', []), names)
    kept = _matching('keep', freeze.get('keep', []), sorted(frozen))
    if freeze.get('keep_newest', False):
        kept |= newest_parameters(model)
    return frozen - kept if step >= freeze.get('from_step', 1) else set()


def _matching(key: str, patterns: Sequence[str], names: Sequence[str]) -> set[str]:
    if isinstance(patterns, str) or not isinstance(patterns, (list, tuple)):
        raise TypeError(f'model.freeze.{key}: expected a list of patterns, got {patterns!r}')
    found: set[str] = set()
    for pattern in patterns:
        matches = {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            parts = sorted({'.'.join(name.split('.')[:2]) for name in names})
            raise ValueError(
                f'model.freeze.{key}: {pattern!r} matches no parameter; names begin with '
                f'{", ".join(parts)}'
            )
        found |= matches
    return found


def freeze_parameters(model: nn.Module, frozen: set[str]) -> list[nn.Module]:
    """Let parameters have no gradient, so that neither optimizer nor data parallelism sees them.

    Returns:
        The modules all of whose parameters are frozen, outermost first. They have to stay in eval
        mode: in training mode their batch norms would go on moving.
    """
    frozen_ids = set()
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
            frozen_ids.add(id(parameter))
    modules = []
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and all(id(parameter) in frozen_ids for parameter in parameters):
            modules.append(module)
    return modules
