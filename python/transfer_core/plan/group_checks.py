"""Checks of the words about groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfer_core.plan.checks import raise_if, train_steps
from transfer_core.recipe.heads import KnnHead
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem
from transfer_core.tasks import PooledTask, Task


def check_group_words(recipe: Recipe, task: Task[Any]) -> None:
    """Raise `RecipeError` if groups do not go with the task, the head or other words of the user's recipe."""
    problems = []
    if recipe.columns.group and not isinstance(task, PooledTask):
        problems.append(Problem("columns.group", f"{task.name} has no metrics by group. Fix: leave it out"))
    for path, train in train_steps(recipe):
        if train.group_weights not in (None, "none"):
            weighted = train.class_weights not in (None, "none")
            problems += [Problem(f"{path}.group_weights", why) for why in _problems(recipe, weighted)]
    raise_if(problems)


def _problems(recipe: Recipe, class_weights: bool) -> Iterator[str]:
    if recipe.columns.group is None:
        yield 'needs a column of groups. Fix: columns group: "camera"'
    if class_weights:
        yield "weights the classes of each group, too. Fix: leave out class_weights"
    if isinstance(recipe.head, KnnHead):
        yield "neighbours are counted, and have no weights. Try: head: linear"
    if recipe.adapt:
        yield "is for a training without adapt. Fix: leave out one of them"
