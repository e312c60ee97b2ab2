"""Settings of inference that may be changed while a model is there, without training it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from ..spelling import closest


@dataclass(frozen=True)
class InferenceSetting:
    """A setting that what the decoder computes does not depend on.

    Attributes:
        key: Its key in the config.
        assign: Gives it another value, or raises TypeError or ValueError with the key.
    """

    key: str
    assign: Callable[[Any], None]


@runtime_checkable
class Adjustable(Protocol):
    """A part of a model that has such settings."""

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return the settings by name."""


def inference_setting(model: nn.Module, name: str) -> InferenceSetting:
    """Return a setting of a model.

    Raises:
        ValueError: If the model has none of that name; the message lists those that it has.
    """
    found = dict(_settings(model))
    if name in found:
        return found[name]
    meant = closest(name, list(found))
    hint = f'; did you mean {meant!r}?' if meant else ''
    known = f'one of {sorted(found)}' if found else 'and this model has none'
    raise ValueError(f'{name}: expected a setting of inference, {known}{hint}')


def _settings(model: nn.Module) -> Iterator[tuple[str, InferenceSetting]]:
    for module in model.modules():
        if isinstance(module, Adjustable):
            yield from module.inference_settings().items()


def check_threshold(key: str, value: Any) -> float:
    """Return a threshold.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'{key}: expected a number from 0 to 1, got {value!r}')
    if not 0 <= value <= 1:
        raise ValueError(f'{key}: expected 0 to 1, got {value}')
    return float(value)


def check_optional_threshold(key: str, value: Any) -> float | None:
    """Return a threshold that may be None.

    Raises:
        TypeError: If it is neither a number nor None.
        ValueError: If it is not in [0, 1].
    """
    if value is None:
        return None
    try:
        return check_threshold(key, value)
    except TypeError:
        message = f'{key}: expected a number from 0 to 1 or None, got {value!r}'
        raise TypeError(message) from None
