"""Which weights do not fit a model, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def weight_faults(
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    newest: Iterable[str] = (),
) -> list[str]:
    """Return in words which weights of a checkpoint do not fit a model.

    Args:
        own: The weights of the model.
        found: Those of the checkpoint.
        newest: Names that the checkpoint must not have.

    Example:
        >>> import torch
        >>> one, two = torch.zeros(1), torch.zeros(2)
        >>> weight_faults({'a': one, 'b': two}, {'a': two, 'c': one})
        ['missing: b', 'unexpected: c', 'of another shape: a (2,) instead of (1,)']
    """
    added = set(newest)
    faults = {
        'missing': sorted(set(own) - set(found) - added),
        'unexpected': sorted(set(found) - set(own) | set(found) & added),
        'of another shape': [
            f'{name} {tuple(found[name].shape)} instead of {tuple(own[name].shape)}'
            for name in sorted(set(own) & set(found))
            if own[name].shape != found[name].shape
        ],
    }
    return [f'{kind}: {_shorten(names)}' for kind, names in faults.items() if names]


def _shorten(names: list[str], limit: int = 5) -> str:
    """Return the first names of a list, and how many there are more."""
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')
