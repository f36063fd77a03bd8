"""The coverage at which prediction sets and intervals are requested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from transfer_core.metrics.conformal import conformal_quantile, min_held_out
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError

# Per output the sorted nonconformity scores of held-out examples.
Scores = Sequence[Sequence[float]]


def check_level(level: float | None, task: str, scores: Scores | None) -> None:
    """Raise `RecipeError` if a model with these `scores` can't give sets or intervals at `level`."""
    if level is not None and (message := _problem(level, task, scores)):
        raise RecipeError([Problem("level", message)])


def quantile(scores: Sequence[float], level: float) -> float:
    """The conformal quantile at a level that passed `check_level`."""
    found = conformal_quantile(scores, level)
    assert found is not None
    return found


def _problem(given: object, task: str, scores: Scores | None) -> str | None:
    level = float(given) if isinstance(given, Real) else math.nan
    if not 0 < level < 1:
        return f"expected a number above 0 and below 1 (got {shown(given)})"
    if scores is None:
        return f"prediction sets are not available for {task} models"
    held_out = len(scores[0]) if scores else 0
    if held_out >= min_held_out(level):
        return None
    return f"{level:g} needs at least {min_held_out(level)} held-out examples, and this model has {held_out}"
