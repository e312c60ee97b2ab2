"""Let trackers show the steps of a run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

AXIS = 'run_iter'
"""Name of the scalar that counts the iterations of all steps."""


class OneAxisHook(Hook):
    """Add the iterations of earlier steps to those at which trackers get their scalars.

    So the curves of all steps lie beside each other in TensorBoard and its like. W&B counts by
    itself and gets the number as the scalar :data:`AXIS`, which can be its axis. The file
    ``scalars.json`` of a step counts from its own start.

    Args:
        earlier_iters: Iterations of the steps before this one.
    """

    # before the first scalar
    priority = 'VERY_HIGH'

    def __init__(self, earlier_iters: int) -> None:
        self.earlier_iters = earlier_iters

    def before_run(self, runner: Runner) -> None:
        """Change what the trackers of the runner are told."""
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                self._shift(backend)

    def _shift(self, backend: Any) -> None:
        """Add the iterations to what a tracker is told, once: its methods call each other."""
        told = [False]
        # add_scalars(values, step), the others (name, value, step)
        for name, position in (('add_scalar', 2), ('add_scalars', 1), ('add_image', 2)):
            setattr(backend, name, self._later(getattr(backend, name), position, told))

    def _later(
        self, add: Callable[..., None], position: int, told: list[bool]
    ) -> Callable[..., None]:
        @wraps(add)
        def add_later(*args: Any, **kwargs: Any) -> None:
            if told[0]:
                add(*args, **kwargs)
                return
            told[0] = True
            try:
                if position == 1 and args:
                    step = args[1] if len(args) > 1 else kwargs.get('step', 0)
                    args = ({**args[0], AXIS: step + self.earlier_iters}, *args[1:])
                if len(args) > position:
                    args = (
                        *args[:position],
                        args[position] + self.earlier_iters,
                        *args[position + 1 :],
                    )
                else:
                    kwargs['step'] = kwargs.get('step', 0) + self.earlier_iters
                add(*args, **kwargs)
            finally:
                told[0] = False

        return add_later
