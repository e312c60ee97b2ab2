"""Settings of a config as plain dicts and lists: copied, merged, looked up by dotted key.

Pure Python but for the merging of configs: no torch.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from mmengine.config import Config

MISSING: Final = object()
"""What :func:`look_up` returns where there is nothing."""


def plain(node: Any) -> Any:
    """Copy a config as plain dicts."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(map(plain, node))
    return copy.deepcopy(node)


def merged(*configs: dict[str, Any]) -> dict[str, Any]:
    """Merge configs as inheritance does: later ones win, ``_delete_`` replaces."""
    first, *others = configs
    result = Config(plain(first))
    for other in others:
        result.merge_from_dict(plain(other))
    return plain(result.to_dict())


def mark(value: Any) -> Any:
    """Return a value, or what stands for a long one where values are compared."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) < 30 else hashlib.sha256(text.encode()).hexdigest()[:12]


def look_up(node: Any, key: str) -> Any:
    """Return the value of a dotted key such as ``param_scheduler.0.end``, or :data:`MISSING`."""
    for part in key.split('.'):
        if isinstance(node, (list, tuple)):
            index = int(part)
            node = node[index] if index < len(node) else MISSING
        else:
            node = node.get(part, MISSING) if isinstance(node, Mapping) else MISSING
    return node


def put(node: Any, key: str, value: Any) -> None:
    """Set the value of a dotted key; dicts on the way to it are made, lists have to be there."""
    *parents, last = key.split('.')
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
