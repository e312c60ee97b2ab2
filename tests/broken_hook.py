"""A hook of a user with a fault of its own."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


class BrokenHook(Hook):
    """Raise what nobody expects."""

    def before_train(self, runner):
        """Raise it."""
        raise KeyError('nobody expects this')


if 'BrokenHook' not in HOOKS.module_dict:
    # pytest imports this file a second time, to look for examples
    HOOKS.register_module(module=BrokenHook)
