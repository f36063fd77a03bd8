"""The tasks by name, and the task of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transfer_core.data.labels import plain
from transfer_core.model_file import strict_json
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train
from transfer_core.tasks.classification import Classification
from transfer_core.tasks.detection import Detection
from transfer_core.tasks.multi_label import MultiLabel
from transfer_core.tasks.regression import Regression
from transfer_core.tasks.task import State, Task
from transfer_core.tasks.text_generation import TextToText, Translation

# In order of recognition; the last accepts all labels.
TASKS: dict[str, Task[Any]] = {
    task.name: task
    for task in (Detection(), MultiLabel(), Regression(), Translation(), TextToText(), Classification())
}


def named_task(recipe: Recipe) -> Task[Any] | None:
    """The task that `recipe` names, or that the loss of one of its steps implies."""
    if recipe.task != "auto":
        return TASKS[recipe.task]
    losses = {step.loss for step in (*recipe.steps, recipe.train) if isinstance(step, Train)}
    return next((task for task in TASKS.values() if task.loss in losses), None)


def choose_task(recipe: Recipe, labels: Iterable[Any]) -> tuple[Task[Any], str | None]:
    """The task that `recipe` names or implies, else the first that recognizes `labels`; and a warning where
    another task may be meant."""
    if named := named_task(recipe):
        return named, None
    values = [plain(label) for label in labels]
    for task in TASKS.values():
        if recognized := task.recognize(values):
            return task, recognized.warning
    raise AssertionError("the last task takes all labels")


def read_state(task: str, labels: tuple[str, ...], plain_state: Any) -> State:
    """The state in the header of a saved model.

    Raises
    ------
    ValueError
        With the field, the expected type and the value.
    """
    if task not in TASKS:
        raise ValueError(f'task: unknown task "{task:.100}" (one of: {", ".join(sorted(TASKS))})')
    state: State = strict_json.convert(plain_state, TASKS[task].state_type, "state")
    for problem in state.problems(labels):
        raise ValueError(f"state.{problem}")
    return state
