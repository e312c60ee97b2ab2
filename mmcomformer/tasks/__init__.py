"""The tasks: one object each for all that depends on what a model predicts.

Importing them needs no other library; their methods import what they need.
"""

from .detector import DetectorTask
from .instance import InstanceTask
from .panoptic import PanopticTask
from .semantic import SemanticTask
from .task import TASKS, Task, register_task, task_named, task_of

register_task(PanopticTask())
register_task(SemanticTask())
register_task(InstanceTask())

__all__ = [
    'TASKS',
    'DetectorTask',
    'InstanceTask',
    'PanopticTask',
    'SemanticTask',
    'Task',
    'register_task',
    'task_named',
    'task_of',
]
