"""`transfer_core.train`, the recipe's words as keywords, and `transfer_core.resume`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transfer_core.data.row_streams import name_streams
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.data_check import DataReport, check_data
from transfer_core.recipe.messages import shown
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe, Train
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.runtime.progress import Event, Progress


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
        Called with each event (`docs/reference/protocol.md`).
    cancelled
        Asked often; training ends with `Cancelled` once it says True.
    words
        Any other word of a recipe (`docs/reference/recipe.md`). Words of a `train` step (`epochs=5`) may
        stand alone.

    Raises
    ------
    TransferError
        Whatever is wrong with the recipe, the data, the weights or the machine.
    """
    source, streams = name_streams(data)
    recipe = parse_recipe({"backbone": backbone, "data": source, **_sorted_by_place(words)})
    return five_steps.run(recipe, streams, _progress(on_event, cancelled))


def check(
    *,
    data: Any,
    backbone: str = "mobilenet_v2",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> DataReport:
    """Check data as `train` does, and decode every image, without a training.

    Parameters
    ----------
    data, on_event, cancelled, words
        As for `train`.
    backbone
        The network to be trained, which decides whether inputs are images, texts or rows of a table.

    Returns
    -------
    A report: `ok`, `problems` that would stop the training, `warnings`, `labels` with counts, `sizes`.

    Raises
    ------
    TransferError
        If the recipe is wrong, or the check was cancelled.
    """
    source, streams = name_streams(data)
    recipe = parse_recipe({"backbone": backbone, "data": source, **_sorted_by_place(words)})
    return check_data(recipe, streams, _progress(on_event, cancelled))


def resume(
    run: str,
    *,
    data: Any = None,
    trust: bool = False,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Model:
    """Resume an interrupted training, to the model that it would have given, to the last bit.

    Parameters
    ----------
    run
        Its id: the name of its directory in `TRANSFER_HOME`/runs. `resumable()` lists them; `Cancelled`
        has it as `run`. With `trust` also the path of a directory.
    trust
        Whether the content of the run may be read, and run the code that its recipe names, although it is
        not a run of this user that began here.
    data
        The same examples, where they are by now; must be given if the training began with rows.
    on_event, cancelled
        As for `train`.

    Raises
    ------
    TransferError
        As `train` does; `ConfigurationError` if there is no such run, it needs `trust`, or a process
        trains it at this moment; `DataError` if its examples have changed.
    """
    if not isinstance(run, str):
        raise RecipeError([Problem("run", f"expected the id of a run (got {shown(run)})")])
    if not isinstance(trust, bool):
        raise RecipeError([Problem("trust", f"expected True or False (got {shown(trust)})")])
    source, streams = (None, {}) if data is None else name_streams(data)
    return five_steps.resume(run, source, streams, _progress(on_event, cancelled), trust)


def _progress(on_event: Callable[[Event], None] | None, cancelled: Callable[[], bool] | None) -> Progress:
    for name, given in (("on_event", on_event), ("cancelled", cancelled)):
        if given is not None and not callable(given):
            raise RecipeError([Problem(name, f"expected something that can be called (got {shown(given)})")])
    defaults = Progress()
    return Progress(on_event or defaults.emit, cancelled or defaults.cancelled)


def _sorted_by_place(words: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own words, and under `train` those of a `train` step."""
    known = [*Recipe.__struct_fields__, *Train.__struct_fields__]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise RecipeError([Problem(word, f"unknown word{did_you_mean(word, known)}") for word in unknown])
    training = {word: value for word, value in words.items() if word not in Recipe.__struct_fields__}
    if training and "train" in words:
        message = (
            f"give training words either in train or beside it, not both (beside it: {', '.join(training)})"
        )
        raise RecipeError([Problem("train", message)])
    recipe = {word: value for word, value in words.items() if word not in training}
    return {**recipe, "train": training} if training else recipe
