"""An accelerator that a CPU emulates, to see what would happen on a device of its own.

Its tensors refuse to meet those of the CPU where CUDA's would, and what would make the host wait
for CUDA is recorded. It computes what the CPU computes, so that results can be compared.

A backend is registered for the whole process, which then counts as one with an accelerator: other
tests would see it, and autograd may start threads that no fork survives. So a test runs in a fork
of its own: see :func:`in_fork`.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from measuring import BenchmarkError, in_child
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

import mmcomformer

NAME = 'emulated'
PACKAGE, TORCH = (Path(str(module.__file__)).parent for module in (mmcomformer, torch))

READ = 'read'
"""Kind of an operation whose result the host has to wait for."""
COPY = 'copy'
"""Kind of a copy from the host that is not ``non_blocking``: CUDA waits for it too."""

# seconds
_LONGEST_TEST = 120

_REGISTER = getattr(backend_registration, '_setup_privateuseone_for_python_backend', None)

aten = torch.ops.aten
# their second argument are indices, which may be on the host
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
_COPIES = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
# not tagged as pointwise, but they take a number from the host as those do
_TAKE_NUMBERS = {
    aten.fill.Tensor,
    aten.fill_.Tensor,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.where.self,
}


def reason_to_skip() -> str | None:
    """Return why this process cannot emulate an accelerator, or None."""
    if _REGISTER is None:
        return 'this torch cannot register a backend in Python'
    if not hasattr(os, 'fork'):
        return 'this system cannot fork'
    if torch.accelerator.is_available():
        return 'there is an accelerator, whose autograd threads do not survive a fork'
    return None


def device() -> torch.device:
    """Return the emulated device; the backend must be registered."""
    return torch.device(NAME, 0)


@dataclass(frozen=True)
class Place:
    """A line of a program.

    Attributes:
        file: Name of the file, without its folder.
        line: Number of the line.
        function: The function that it is in.
        is_ours: Whether the file is one of the package.
    """

    file: str
    line: int
    function: str
    is_ours: bool

    def __str__(self) -> str:
        return f'{self.file}:{self.line} {self.function}'


@dataclass(frozen=True)
class Wait:
    """An operation for which the host would have to wait.

    Attributes:
        kind: :data:`READ` or :data:`COPY`.
        op: Name of the operation, such as ``_local_scalar_dense``.
        caller: The innermost place outside torch.
        own: The innermost place inside the package; None if there is none.
    """

    kind: str
    op: str
    caller: Place
    own: Place | None

    def __str__(self) -> str:
        return f'{self.kind} by {self.op} in {self.caller}, for {self.own}'


class Waits(list[Wait]):
    """What was recorded while an accelerator was emulated."""

    def of_package(self) -> list[str]:
        """Return those that the package asks for itself: kind, file and function of each."""
        return [
            f'{wait.kind} in {wait.caller.file} {wait.caller.function}'
            for wait in self
            if wait.caller.is_ours
        ]

    def of_libraries(self, *, besides: str = '') -> dict[str, int]:
        """Return how many libraries ask for, by kind and file.

        Args:
            besides: A function of theirs to leave out.
        """
        return dict(
            Counter(
                f'{wait.kind} in {wait.caller.file}'
                for wait in self
                if not wait.caller.is_ours and wait.caller.function != besides
            )
        )


class EmulatedTensor(Tensor):
    """A tensor of the emulated device, which holds one of the CPU.

    Args:
        value: Its values; they are not copied.
    """

    value: Tensor
    # made from a Python number in an assignment; CUDA keeps such a value on the host
    is_number = False

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, value: Tensor) -> EmulatedTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=device(),
        )

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f'EmulatedTensor({self.value!r})'

    def tolist(self) -> Any:
        """Return the values, as torch reads them: all in one copy."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        raise RuntimeError(f'{func} outside of emulated_accelerator()')


def _is_emulated(place: Any) -> bool:
    return isinstance(place, torch.device) and place.type == NAME


def _to_host(argument: Any) -> Any:
    if isinstance(argument, EmulatedTensor):
        return argument.value
    return torch.device('cpu') if _is_emulated(argument) else argument


def _tensors(*arguments: Any) -> tuple[list[EmulatedTensor], list[Tensor]]:
    """Return the tensors among arguments: those of the device and those of the host."""
    leaves = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
    ours = [leaf for leaf in leaves if isinstance(leaf, EmulatedTensor)]
    return ours, [leaf for leaf in leaves if not isinstance(leaf, EmulatedTensor)]


class _Emulation(TorchDispatchMode):
    """Runs each operation on the CPU, and judges it as CUDA would.

    Args:
        waits: Where to record what the host would wait for.
    """

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_device, on_host = _tensors(args, kwargs)
        wanted = kwargs.get('device')
        if not on_device and not _is_emulated(wanted):
            return func(*args, **kwargs)
        if on_device:
            self._judge(func, args, kwargs, on_host)
        elif func in _COPIES and not kwargs.get('non_blocking'):
            self._record(COPY, func)
        out = func(*tree_map(_to_host, args), **tree_map(_to_host, kwargs))
        if wanted is not None and not _is_emulated(wanted):
            return out
        wrapped = tree_map_only(Tensor, EmulatedTensor, out)
        if func is aten.scalar_tensor.default:
            wrapped.is_number = True
        return return_and_correct_aliasing(func, args, kwargs, wrapped)

    def _judge(self, func: Any, args: Sequence[Any], kwargs: Any, on_host: list[Tensor]) -> None:
        """Raise where tensors of both devices meet, and record what the host waits for."""
        if func in _COPIES:
            self._judge_copy(func, args, kwargs)
        elif func in _INDEXING:
            self._judge_indexing(func, args)
        else:
            takes_numbers = torch.Tag.pointwise in func.tags or func in _TAKE_NUMBERS
            if any(part.dim() > 0 or not takes_numbers for part in on_host):
                raise _mixed(func)
            if _needs_values(func, args, kwargs):
                self._record(READ, func)

    def _judge_copy(self, func: Any, args: Sequence[Any], kwargs: Any) -> None:
        if func is aten._to_copy.default:
            source, target = True, kwargs.get('device') is None or _is_emulated(kwargs['device'])
            waits = not kwargs.get('non_blocking')
        else:
            target, source = (isinstance(part, EmulatedTensor) for part in args[:2])
            waits = not (args[2] if len(args) > 2 else kwargs.get('non_blocking'))
        if source != target and waits:
            self._record(READ if source else COPY, func)

    def _judge_indexing(self, func: Any, args: Sequence[Any]) -> None:
        indexed, indices, *rest = args
        values = [part for part in rest if isinstance(part, Tensor)]
        if not isinstance(indexed, EmulatedTensor):
            raise _mixed(func)
        for part in values:
            if not isinstance(part, EmulatedTensor):
                if part.dim() > 0:
                    raise _mixed(func)
                self._record(COPY, func)
        indices = [index for index in indices if index is not None]
        masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
        for index in indices:
            if not isinstance(index, EmulatedTensor):
                self._record(COPY, func)
        # CUDA fills a mask with a number without looking for its pixels
        fills = len(indices) == 1 and any(getattr(part, 'is_number', False) for part in values)
        if masks and not fills:
            self._record(READ, func)

    def _record(self, kind: str, func: Any) -> None:
        caller, own = _places()
        self.waits.append(Wait(kind, func._schema.name.removeprefix('aten::'), caller, own))


def _needs_values(func: Any, args: Sequence[Any], kwargs: Any) -> bool:
    """Tell whether the host needs values: for its own use, or for the shape of the result."""
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get('output_size') is None
    if func is aten.histc.default:
        # equal bounds, as by default, stand for those of the values
        lower, upper = [*args[2:], *(0, 0)][:2]
        return kwargs.get('min', lower) == kwargs.get('max', upper)
    tags = func.tags
    return torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags


def _mixed(func: Any) -> RuntimeError:
    return RuntimeError(
        f'Expected all tensors to be on the same device, but found at least two devices, '
        f'{device()} and cpu! ({func})'
    )


def _places() -> tuple[Place, Place | None]:
    """Return :attr:`Wait.caller` and :attr:`Wait.own` of the running operation."""
    caller = None
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        path = Path(code.co_filename)
        if code.co_filename != __file__ and TORCH not in path.parents:
            place = Place(path.name, frame.f_lineno, code.co_name, is_ours=PACKAGE in path.parents)
            caller = caller or place
            if place.is_ours:
                return caller, place
        frame = frame.f_back
    assert caller is not None
    return caller, None


class _Module:
    """What torch asks of the module of a backend."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Do nothing: random numbers are the CPU's."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


@functools.cache
def _register() -> None:
    """Register the backend with torch, which lasts as long as the process."""
    assert _REGISTER is not None
    _REGISTER(rename=NAME, backend_module=_Module())


@contextmanager
def emulated_accelerator() -> Iterator[Waits]:
    """Emulate the device; its tensors can be used inside alone.

    Yields:
        What the host would have to wait for so far.
    """
    _register()
    waits = Waits()
    # torch.tensor would build its values on the device, unseen
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        # autograd may have been set up in this process, or its parent, for devices known before
        with _Emulation(waits), torch.autograd.set_multithreading_enabled(False):
            yield waits
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def to_device(value: Any) -> Any:
    """Return a copy of a tensor, or of a container of tensors, on the device; nothing waits."""
    return tree_map_only(Tensor, lambda part: EmulatedTensor(part.detach().clone()), value)


def to_host(value: Any) -> Any:
    """Return the values of a tensor, or of a container of tensors; nothing is recorded.

    Raises:
        TypeError: If a tensor is on the host already.
    """

    def values(part: Tensor) -> Tensor:
        if not isinstance(part, EmulatedTensor):
            raise TypeError(f'a tensor of shape {tuple(part.shape)} has not left the host')
        return part.value

    return tree_map_only(Tensor, values, value)


def move(model: nn.Module) -> nn.Module:
    """Move the parameters and buffers of a model to the device, in place, and return it."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not isinstance(parameter, EmulatedTensor):
                value = EmulatedTensor(parameter.detach().clone())
                module._parameters[name] = nn.Parameter(value, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, EmulatedTensor):
                module._buffers[name] = EmulatedTensor(buffer.detach().clone())
    return model


def in_fork(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a fork of the process, and skip it where nothing can be emulated."""

    @functools.wraps(test)
    def forked(*args: Any, **kwargs: Any) -> None:
        if reason := reason_to_skip():
            pytest.skip(reason)
        # what a dispatch mode imports with its first operation, each fork would import anew
        importlib.import_module('torch._dynamo')
        try:
            failure = in_child(functools.partial(_outcome, test, *args, **kwargs))
        except BenchmarkError as error:
            failure = str(error)
        if failure is not None:
            pytest.fail(failure, pytrace=False)

    return forked


def _outcome(test: Callable[..., None], *args: Any, **kwargs: Any) -> str | None:
    """Run a test, and return what failed."""
    # a fork that waits for a thread it does not have ends, and the parent tells it
    signal.alarm(_LONGEST_TEST)
    try:
        test(*args, **kwargs)
    except BaseException:  # noqa: BLE001  (told to the parent)
        return traceback.format_exc()
    return None
