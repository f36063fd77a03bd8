"""Checks of a recipe whose fine-tuning several processes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transfer_core.plan.phases import phases
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import CONTRASTIVE
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks import Task

_ALONE = "Fix: leave processes out"


def check_processes(recipe: Recipe, task: Task[Any], blocks: Sequence[str]) -> None:
    """Raise `RecipeError` unless several processes can share the fine-tuning of a recipe with complete steps.

    Parameters
    ----------
    recipe
        With complete steps, whose options may be missing.
    task
        The task.
    blocks
        Those of the backbone.
    """
    if recipe.processes > 1:
        problems = [Problem("processes", message) for message in _problems(recipe, task, blocks)]
        if problems:
            raise RecipeError(problems)


def _problems(recipe: Recipe, task: Task[Any], blocks: Sequence[str]) -> Iterator[str]:
    count = recipe.processes
    tuned = [phase.train for phase in phases(recipe, blocks) if phase.changes_backbone]
    if task.needs != "pooled":
        yield f"{task.name} trains in one process, not in {count}. {_ALONE}"
    elif not tuned:
        yield f"{count} processes share fine-tuning, but every block is frozen. Fix: unfreeze blocks"
    given = [word for word in ("adapt", "distill") if getattr(recipe, word)]
    given += ["loss: :contrastive"] if any(train.loss == CONTRASTIVE for train in tuned) else []
    for word in given:
        message = f"{word} compares the examples of a whole batch, which one process must have"
        yield f"{message} (got {count}). {_ALONE}"
    smallest = min((train.batch_size or 32 for train in tuned), default=count)
    if smallest < count:
        yield f"{count} processes can't share batches of {smallest}. Fix: batch_size: {count} or more"
