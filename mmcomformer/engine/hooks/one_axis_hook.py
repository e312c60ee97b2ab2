"""Let trackers show the steps of a run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend


class OneAxisHook(Hook):
    """Add the iterations of earlier steps to those at which trackers get their scalars.

    So the curves of all steps lie beside each other in TensorBoard, W&B and their like. The file
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
                for name in ('add_scalar', 'add_scalars', 'add_image'):
                    setattr(backend, name, self._later(getattr(backend, name), name))

    def _later(self, add: Callable[..., None], name: str) -> Callable[..., None]:
        # add_scalars(values, step), the others (name, value, step)
        position = 1 if name == 'add_scalars' else 2

        @wraps(add)
        def add_later(*args: Any, step: int = 0, **kwargs: Any) -> None:
            if len(args) > position:
                step, args = args[position], (*args[:position], *args[position + 1 :])
            add(*args, step=step + self.earlier_iters, **kwargs)

        return add_later
