"""The keywords of the public functions as a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transfer_core.data.row_streams import Rows, name_domains, name_streams
from transfer_core.pipeline.label_map import LabelMap
from transfer_core.recipe.messages import shown
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.runtime.progress import Event, Progress


def recipe_of(backbone: str | None, data: Any, words: Mapping[str, Any]) -> tuple[Recipe, dict[str, Rows]]:
    """The recipe, with iterables of rows as named streams."""
    source, streams = name_streams(data)
    words, more = name_domains(words)
    if isinstance(words.get("map_labels"), LabelMap):
        words = {**words, "map_labels": words["map_labels"].names}
    named = {} if backbone is None else {"backbone": backbone}
    return parse_recipe({**named, "data": source, **_with_train_step(words)}), streams | more


def progress_of(on_event: Callable[[Event], None] | None, cancelled: Callable[[], bool] | None) -> Progress:
    """Progress with the functions of a caller."""
    for name, given in (("on_event", on_event), ("cancelled", cancelled)):
        if given is not None and not callable(given):
            raise RecipeError([Problem(name, f"expected something that can be called (got {shown(given)})")])
    defaults = Progress()
    return Progress(on_event or defaults.emit, cancelled or defaults.cancelled)


def _with_train_step(words: Mapping[str, Any]) -> dict[str, Any]:
    """Move the fields of a `train` step under `train`."""
    known = [*Recipe.__struct_encode_fields__, *Train.__struct_fields__]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise RecipeError([Problem(word, f"unknown word{did_you_mean(word, known)}") for word in unknown])
    training = {word: value for word, value in words.items() if word not in Recipe.__struct_encode_fields__}
    if training and "train" in words:
        message = (
            f"give training words either in train or beside it, not both (beside it: {', '.join(training)})"
        )
        raise RecipeError([Problem("train", message)])
    recipe = {word: value for word, value in words.items() if word not in training}
    return {**recipe, "train": training} if training else recipe
