"""Whether a value of a config is of the type of an argument: of its annotation, or its default.

Annotations are taken as hints: what a config is built from, dicts, lists and names, stands for the
objects, and an annotation that the argument's own default contradicts is not believed.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from os import PathLike
from typing import Any

import torch

_ANY = (Any, inspect.Parameter.empty)
_LISTS = (list, tuple)
_NAMED = {
    'str': str,
    'int': int,
    'float': float,
    'bool': bool,
    'list': list,
    'tuple': tuple,
    'dict': dict,
    'List': list,
    'Tuple': tuple,
    'Dict': dict,
    'None': None,
    'Optional': typing.Optional,
    'Union': typing.Union,
    'Sequence': typing.Sequence,
    'Any': Any,
}
"""What an annotation may name without the module that it is in importing it."""
_BY_REFERENCE = (typing.TypeVar, typing.ForwardRef, str)
_NUMBERS = frozenset((int, float))
_MAY_LACK = ('_cfg', 'neck')
"""How names end of arguments that may be None, which annotations do not always say."""
_OBJECT = 'a dict from which one builds a'
_LONGEST = 80
"""Characters of a value that a message shows."""


def resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """Return what an annotation that is a string means; the string itself if that is unknown.

    Args:
        annotation: Annotation of an argument.
        function: The function that has it.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, {**_NAMED, **getattr(function, '__globals__', {})})  # noqa: S307
    except Exception:  # noqa: BLE001  (an expression of others, in a module that is imported)
        return annotation


def mismatch(parameter: inspect.Parameter, value: Any) -> str:
    """Return what an argument expects instead of a value; empty if that may be right.

    Example:
        >>> def function(depth: int, frozen=True): ...
        >>> depth, frozen = inspect.signature(function, eval_str=True).parameters.values()
        >>> mismatch(depth, '50'), mismatch(depth, 50), mismatch(frozen, 'no')
        ('a number (int)', '', 'True or False')
    """
    default = parameter.default
    # mmdet writes ... as the default of what has to be given
    has_default = default not in (inspect.Parameter.empty, ...)
    annotation = parameter.annotation
    if value is None and (default is None or parameter.name.endswith(_MAY_LACK)):
        return ''
    if annotation in _ANY or isinstance(annotation, str):
        return _unlike(default, value) if has_default else ''
    if has_default and default is not None and not accepts(annotation, default):
        return ''
    return '' if accepts(annotation, value) else described(annotation)


def _unlike(default: Any, value: Any) -> str:
    """Return what is expected instead of a value, by the type of the default alone."""
    wrong = {
        bool: isinstance(value, (str, Mapping)),
        int: isinstance(value, (str, Mapping)),
        float: isinstance(value, (str, Mapping)),
        dict: isinstance(value, (str, int, float)),
    }
    return described(type(default)) if wrong.get(type(default), False) else ''


def accepts(annotation: Any, value: Any) -> bool:
    """Tell whether a value of a config may be given where a type is expected."""
    if annotation in _ANY or isinstance(annotation, _BY_REFERENCE):
        return True
    if annotation is None or annotation is type(None):
        return value is None
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(accepts(member, value) for member in members)
    if origin is typing.Literal:
        return value in members
    if origin is typing.Annotated:
        return accepts(members[0], value)
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    of_numbers = bool(set(members) & _NUMBERS)
    if isinstance(value, _LISTS) and _is_list(kind):
        return not (of_numbers and any(isinstance(item, str) for item in value))
    # libraries are not exact about numbers: one for each of several, or one for all
    if kind in _NUMBERS and isinstance(value, _LISTS):
        return not any(isinstance(item, (str, Mapping)) for item in value)
    if _is_list(kind) and of_numbers and type(value) in _NUMBERS:
        return True
    return _is_of(kind, value)


def _is_list(kind: type) -> bool:
    return kind in _LISTS or (
        issubclass(kind, Iterable) and not issubclass(kind, (str, Mapping, torch.Tensor))
    )


def _is_of(kind: type, value: Any) -> bool:
    if kind is bool:
        # what is not set is not so
        return value is None or isinstance(value, bool) or value in (0, 1)
    if kind in _NUMBERS:
        return type(value) in _NUMBERS
    if kind is object or isinstance(value, kind):
        return True
    if isinstance(value, str):
        # a name that is looked up, or the value of an enumeration
        return issubclass(kind, (PathLike, Enum)) or kind is type or _is_callable(kind)
    if isinstance(value, _LISTS):
        # where one component is expected, several may be accepted too
        return issubclass(kind, Mapping) and all(isinstance(item, Mapping) for item in value)
    # a component that is built
    return isinstance(value, Mapping) and kind is not str and not _is_list(kind)


def _is_callable(kind: type) -> bool:
    return kind in (Callable, types.FunctionType)


def described(annotation: Any) -> str:
    """Return a type in the words of a message.

    Example:
        >>> described(int | None), described(bool), described(list[int] | dict)
        ('a number (int) or None', 'True or False', 'a list or a dict')
    """
    words = list(dict.fromkeys(_words(annotation)))
    # None last
    words.sort(key=lambda word: word == 'None')
    numbers = [word for word in words if word in ('int', 'float')]
    others = [word for word in words if word not in numbers]
    if len(words) > 1:
        others = [word for word in others if not word.startswith(_OBJECT)]
    if numbers:
        others.insert(0, f'a number ({" or ".join(sorted(numbers, reverse=True))})')
    return ' or '.join(others)


def _words(annotation: Any) -> Iterator[str]:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for member in members:
            yield from _words(member)
        return
    if origin is typing.Literal:
        yield from map(repr, members)
        return
    kind = origin or annotation
    named = {
        bool: 'True or False',
        int: 'int',
        float: 'float',
        str: 'a text',
        type(None): 'None',
        None: 'None',
    }
    if kind in named:
        yield named[kind]
    elif not isinstance(kind, type):
        yield str(kind)
    elif issubclass(kind, Mapping):
        yield 'a dict'
    elif _is_list(kind):
        yield 'a list'
    else:
        yield f'{_OBJECT} {kind.__name__}'


def shown(value: Any) -> str:
    """Return a value as a message shows it, not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'
