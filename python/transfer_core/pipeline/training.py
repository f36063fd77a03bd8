"""Train by a recipe: in five steps, or by a search over recipes where its backbone is `auto`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from transfer_core.data import Row
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.continuing import check_words
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress

# Words of a recipe that a search chooses.
_SEARCHED = ("weights", "head", "steps", "augment", "train", "preset", "processes")


def train(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]] | None = None, progress: Progress = Progress()
) -> Model:
    """Train a model; see `five_steps.run` and `search.search`.

    Raises
    ------
    RecipeError
        At `budget` without a search; at a word that a search chooses.
    TransferError
        For other errors of the recipe, the data, the weights or the machine.
    """
    if recipe.start:
        check_words(recipe)
        return five_steps.run(recipe, streams, progress)
    if recipe.backbone != "auto":
        if recipe.budget is not None:
            raise RecipeError([Problem("budget", "is for a search. Fix: backbone: :auto, or leave it out")])
        return five_steps.run(recipe, streams, progress)
    defaults = Recipe(data=recipe.data, backbone="auto")
    given = [word for word in _SEARCHED if getattr(recipe, word) != getattr(defaults, word)]
    if given:
        raise RecipeError([Problem(word, "is chosen by backbone :auto. Fix: leave it out") for word in given])
    from transfer_core.pipeline.search import search

    return search(recipe, streams or {}, progress)
