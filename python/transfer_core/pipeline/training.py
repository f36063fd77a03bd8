"""Train by a recipe, on this machine or a cluster: in five steps, or by a search for the backbone `auto`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from transfer_core.data import Row
from transfer_core.distributed import client
from transfer_core.distributed.cluster import cluster_of
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
    """Train a model, on the cluster that the recipe or the environment names; see `five_steps.run`,
    `search.search` and `client.train`.

    Raises
    ------
    RecipeError
        At `budget` without a search; at a word that a search chooses; at `engine`.
    TransferError
        For other errors of the recipe, the data, the weights or the machine.
    """
    _check(recipe)
    cluster = cluster_of(recipe.engine, recipe.storage)
    recipe = replace(recipe, engine=None, storage=None)
    if cluster:
        return client.train(cluster, recipe, progress)
    if is_search(recipe):
        from transfer_core.pipeline.search import search

        return search(recipe, streams or {}, progress)
    return five_steps.run(recipe, streams, progress)


def resume(
    run: str,
    data: Any = None,
    streams: Mapping[str, Iterable[Row]] | None = None,
    progress: Progress = Progress(),
    trust: bool = False,
    engine: str | None = None,
    storage: str | None = None,
) -> Model:
    """Resume a run of this machine, or of the cluster; see `five_steps.resume`.

    Raises
    ------
    TransferError
        As `five_steps.resume` does.
    """
    cluster = cluster_of(engine, storage)
    if cluster is None:
        client.require_engine(run)
    elif model := client.resume(cluster, run, data, trust, progress):
        return model
    return five_steps.resume(run, data, streams, progress, trust)


def is_search(recipe: Recipe) -> bool:
    """Whether the backbone is searched."""
    return recipe.backbone == "auto" and not recipe.start


def _check(recipe: Recipe) -> None:
    if recipe.start:
        check_words(recipe)
        return
    if recipe.backbone != "auto":
        if recipe.budget is not None:
            raise RecipeError([Problem("budget", "is for a search. Fix: backbone: :auto, or leave it out")])
        return
    defaults = Recipe(data=recipe.data, backbone="auto")
    given = [word for word in _SEARCHED if getattr(recipe, word) != getattr(defaults, word)]
    if given:
        raise RecipeError([Problem(word, "is chosen by backbone :auto. Fix: leave it out") for word in given])
