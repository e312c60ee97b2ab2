"""What the processes of a distributed run decide together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, is_distributed, is_main_process

T = TypeVar('T')

# what gloo, NCCL and torch's store say when a process does not answer
_LOST = re.compile(
    r'connection (closed|reset|refused)|broken pipe|timed? ?out|socket|remote process|peer',
    re.IGNORECASE,
)


def on_first_process(function: Callable[[], T]) -> T:
    """Call a function on the first process, and return its result, or raise its error, on all.

    What is decided from files is decided once: processes on other machines may see an older state
    of a shared file system. Every process has to call this.

    Args:
        function: Called without arguments; result and errors have to be picklable.

    Raises:
        Exception: Whatever the function raises.
    """
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = function()
        except Exception as error:
            if not is_distributed():
                raise
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


@contextmanager
def lost_processes_explained() -> Iterator[None]:
    """Turn the error of a collective operation that others do not answer into one that says so.

    Raises:
        RuntimeError: If another process is gone, or has not answered in time.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_distributed() or not _is_of_a_collective(error):
            raise
        raise RuntimeError(
            f'another process of this training is gone, or did not answer within '
            f'env_cfg.dist_cfg.timeout seconds ({str(error).splitlines()[0]}); its own output says '
            f'why. Start all of them again with --resume'
        ) from error


def _is_of_a_collective(error: RuntimeError) -> bool:
    # DistError is the base of DistBackendError and its like; gloo raises plain errors that name it
    named = type(error).__name__.startswith('Dist') or 'gloo' in str(error).lower()
    return named and _LOST.search(str(error)) is not None
