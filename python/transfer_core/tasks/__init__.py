"""Tasks: targets, loss, decoding, calibration and metrics, one module each; `task` is the interface."""

from transfer_core.tasks.criteria import Criterion
from transfer_core.tasks.task import PooledTask, State, Task
from transfer_core.tasks.task_registry import TASKS, choose_task, named_task, read_state

__all__ = ["TASKS", "Criterion", "PooledTask", "State", "Task", "choose_task", "named_task", "read_state"]
