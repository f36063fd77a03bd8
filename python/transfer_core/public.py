"""`transfer_core.train`: the recipe's words as keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from transfer_core import pipeline
from transfer_core.data import Row
from transfer_core.model import Model
from transfer_core.progress import Event, Progress
from transfer_core.recipe import Recipe
from transfer_core.recipe_parser import parse_recipe


def train(
    *,
    backbone: str,
    data: Any,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> Model:
    """Train a model on the caller's own data.

    Parameters
    ----------
    backbone
        A name that `transfer backbones` lists.
    data
        A class folder, a manifest, `{"train": …, "valid": …, "test": …}` of these, or an iterable of rows
        `{"input": path or bytes, "label": …}`.
    on_event
        Called with each event (`docs/protocol.md`).
    cancelled
        Asked often; training ends with `Cancelled` once it says True.
    words
        Any other word of a recipe (`docs/recipe.md`). Words of a `train` step (`epochs=5`) may stand alone.

    Raises
    ------
    TransferError
        Whatever is wrong with the recipe, the data, the weights or the machine.
    """
    named = {word: value for word, value in words.items() if word in Recipe.__struct_fields__}
    training = {word: value for word, value in words.items() if word not in named}
    source, streams = _source(data)
    recipe = parse_recipe(
        {"backbone": backbone, "data": source, **named, **({"train": training} if training else {})}
    )
    defaults = Progress()
    progress = Progress(on_event or defaults.emit, cancelled or defaults.cancelled)
    return pipeline.run(recipe, streams, progress)


def _source(data: Any) -> tuple[Any, dict[str, Iterable[Row]]]:
    """`data` as a recipe says it, and the rows behind its streams."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data), {}
    if not isinstance(data, Mapping):
        return {"stream": "data"}, {"data": data}
    source: dict[str, Any] = {}
    streams: dict[str, Iterable[Row]] = {}
    for part, value in data.items():
        if isinstance(value, str | os.PathLike):
            source[part] = os.fspath(value)
        else:
            source[part], streams[part] = {"stream": part}, value
    return source, streams
