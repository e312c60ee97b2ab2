"""Misspelt keys: the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


def closest(word: str, known: Collection[str], *, cutoff: float = 0.8) -> str | None:
    """Return the known word that another one is probably a misspelling of, or None.

    Args:
        word: The word.
        known: The words that it could be.
        cutoff: How alike they have to be, in [0, 1].

    Example:
        >>> closest('optim_wraper', ['optimizer', 'optim_wrapper'])
        'optim_wrapper'
    """
    return next(iter(difflib.get_close_matches(word, known, 1, cutoff=cutoff)), None)


def check_keys(name: str, keys: Iterable[str], known: Collection[str]) -> None:
    """Check that the keys of a dict in a config are known.

    Args:
        name: Where the dict is in the config.
        keys: Its keys.
        known: The keys that are read.

    Raises:
        TypeError: If one is unknown; it names all of them, and what was probably meant.
    """
    unknown = sorted(set(keys) - set(known))
    if unknown:
        meant = [f'{word!r} for {key!r}' for key in unknown if (word := closest(key, known))]
        hint = f'; did you mean {", ".join(meant)}?' if meant else ''
        raise TypeError(f'{name}: unknown keys {unknown}; expected {sorted(known)}{hint}')
