"""What a component that a config names can be given: the arguments of its class."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mmengine.registry import DefaultScope, Registry

from .value_types import resolved

_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a class or function.

    Attributes:
        parameters: Those that can be given by name.
        is_open: Whether others may be accepted too, as it cannot be told where they go.
    """

    parameters: dict[str, inspect.Parameter]
    is_open: bool

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of what is not given."""
        return {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }


def find_component(kind: Any, registry: Registry) -> Any:
    """Return the class or function that a ``type`` means; None if nothing is called so.

    Args:
        kind: A name, with or without the library that it belongs to, or the object itself.
        registry: mmengine's registry of components of the kind.
    """
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    scope = DefaultScope.get_current_instance()
    if '.' not in kind and scope is not None and scope.scope_name in registry.children:
        found = registry.children[scope.scope_name].get(kind)
        if found is not None:
            return found
    try:
        return registry.get(kind)
    except (ImportError, KeyError):
        return None


def arguments_of(kind: Any, registry: Registry) -> Arguments | None:
    """Return the arguments of what a ``type`` means; None if nothing is called so."""
    component = find_component(kind, registry)
    return None if component is None else arguments(component)


@lru_cache(maxsize=1024)
def arguments(component: Callable[..., Any]) -> Arguments:
    """Return the arguments of a class, those that it passes on to its bases included.

    Example:
        >>> class Base:
        ...     def __init__(self, a, b=1): ...
        >>> class Derived(Base):
        ...     def __init__(self, c=2, **kwargs):
        ...         super().__init__(**kwargs)
        >>> found = arguments(Derived)
        >>> sorted(found.parameters), found.is_open, found.defaults
        (['a', 'b', 'c'], False, {'c': 2, 'b': 1})
    """
    parameters: dict[str, inspect.Parameter] = {}
    for function in _initialisers(component):
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            # written in C
            return Arguments(parameters, is_open=True)
        passes_on = False
        for name, parameter in list(signature.parameters.items()):
            if parameter.kind in _KEYWORDS and name != 'self':
                annotation = resolved(parameter.annotation, function)
                parameters.setdefault(name, parameter.replace(annotation=annotation))
            passes_on |= parameter.kind is inspect.Parameter.VAR_KEYWORD
        if not passes_on:
            return Arguments(parameters, is_open=False)
        if inspect.isclass(component) and not _forwards(function):
            return Arguments(parameters, is_open=True)
    return Arguments(parameters, is_open=True)


def _forwards(function: Any) -> bool:
    """Tell whether an ``__init__`` gives its keywords to the next one, or reads them itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == '__init__'
        and any(keyword.arg is None for keyword in call.keywords)
        for call in calls
    )


def _initialisers(component: Callable[..., Any]) -> Iterator[Any]:
    """Yield what receives the arguments, from the class itself on through its bases."""
    if not inspect.isclass(component):
        yield component
        return
    for base in component.__mro__:
        if base is not object and '__init__' in vars(base):
            yield vars(base)['__init__']
