"""The level at which sets and intervals are asked for."""

from __future__ import annotations

import math
from numbers import Real

from transfer_core.metrics.conformal import conformal_quantile, fewest
from transfer_core.model_file.format import ModelHeader
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError


def check_level(level: float | None, header: ModelHeader) -> None:
    """Raise `RecipeError` if the model can't keep that level."""
    if level is not None and (message := _obstacle(level, header)):
        raise RecipeError([Problem("level", message)])


def quantile(header: ModelHeader, output: int, level: float) -> float:
    """The distance within which the truth is so often, for a level that was checked."""
    found = conformal_quantile(header.distances[output], level)
    assert found is not None
    return found


def _obstacle(said: object, header: ModelHeader) -> str | None:
    level = float(said) if isinstance(said, Real) else math.nan
    if not 0 < level < 1:
        return f"expected a number above 0 and below 1 (got {shown(said)})"
    if header.task == "multi_label":
        return "a model of labels says each label at its own threshold, and gives no sets"
    held_out = len(header.distances[0]) if header.distances else 0
    if held_out >= fewest(level):
        return None
    return (
        f"{level:g} needs at least {fewest(level)} examples that the fit did not see, and this model had "
        f"{held_out}"
    )
