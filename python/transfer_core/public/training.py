"""Train models: `train`, `resume`, `soup`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transfer_core.data.row_streams import name_streams
from transfer_core.model.model import Model
from transfer_core.pipeline.soup import soup as make_soup
from transfer_core.pipeline.training import resume as resume_training
from transfer_core.pipeline.training import train as run_training
from transfer_core.public.keywords import progress_of, recipe_of
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Event


def train(
    *,
    data: Any,
    backbone: str | None = None,
    start: Model | str | os.PathLike[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> Model:
    """Train a model on labelled data.

    Parameters
    ----------
    backbone
        A name that `transfer backbones` lists; that of the model in `start` by default.
    data
        A class folder, a manifest, `{"train": …, "valid": …, "test": …}` of these, or an iterable of rows
        `{"input": path or bytes, "label": …}`.
    start
        A model, or the path of a saved one, whose training is continued with new examples and classes; the
        word `from` of a recipe. Its stored examples are fitted as well, and `metrics["kept"]` has the metric
        on its test examples before and after.
    on_event
        Called with each event (`docs/reference/protocol.md`).
    cancelled
        Called often; the training ends with `Cancelled` once it returns True.
    words
        Other fields of a recipe (`docs/reference/recipe.md`). Fields of its `train` step may be given
        directly (`epochs=5`).

    Returns
    -------
    Model
        The trained model, saved in its run folder.

    Raises
    ------
    TransferError
        If the recipe, the data or the weights are invalid, or the machine lacks memory or a package.
    """
    if start is not None:
        words = {**words, "from": start.path if isinstance(start, Model) else start}
    recipe, streams = recipe_of(backbone, data, words)
    return run_training(recipe, streams, progress_of(on_event, cancelled))


def resume(
    run: str,
    *,
    data: Any = None,
    trust: bool = False,
    engine: str | None = None,
    storage: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Model:
    """Resume an interrupted training; the result is bit-identical to that of an uninterrupted one.

    Parameters
    ----------
    run
        Id of the run: the name of its directory in `TRANSFER_HOME`/runs. `resumable()` lists the ids, and
        `Cancelled` has one as `run`. With `trust` also the path of a directory.
    trust
        Whether a run that did not start under this user here may be read, and the code that its recipe names
        may run.
    data
        The same examples at their current location; required if the training was given rows.
    engine, storage
        The cluster of the run, as in its recipe. Default: `TRANSFER_ENGINE` and `TRANSFER_STORAGE`.
    on_event, cancelled
        As for `train`.

    Returns
    -------
    Model
        The trained model, saved in its run folder.

    Raises
    ------
    TransferError
        As `train` does; `ConfigurationError` if there is no such run, it needs `trust`, or another
        process is training it; `DataError` if its examples have changed.
    """
    if not isinstance(run, str):
        raise RecipeError([Problem("run", f"expected the id of a run (got {shown(run)})")])
    if not isinstance(trust, bool):
        raise RecipeError([Problem("trust", f"expected True or False (got {shown(trust)})")])
    source, streams = (None, {}) if data is None else name_streams(data)
    return resume_training(run, source, streams, progress_of(on_event, cancelled), trust, engine, storage)


def soup(
    models: Sequence[str | os.PathLike[str] | Model],
    *,
    data: Any,
    method: str = "greedy",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> Model:
    """Average the weights of models that were fine-tuned from the same backbone (Wortsman et al. 2022).

    Parameters
    ----------
    models
        Saved models, or their paths; two or more, of one backbone, task, head and set of labels.
    data
        Labelled data that no model was trained on: one half selects and calibrates, the other is measured on.
    method
        `greedy`: the best model, and each further one that does not lower the metric; `uniform`: all.
    on_event, cancelled
        As for `train`.
    words
        Other fields of a recipe: `columns`, `on_bad_input`, `trust`, `seed`.

    Returns
    -------
    Model
        The soup, saved in a run folder; its `history` has the metric with each model.

    Raises
    ------
    TransferError
        If the models don't fit one another, or the data can't be read or are too few.
    """
    if isinstance(models, str | os.PathLike | Model):
        raise RecipeError([Problem("models", f"expected several models (got {shown(str(models))})")])
    if method not in ("greedy", "uniform"):
        raise RecipeError([Problem("method", f"expected greedy or uniform (got {shown(method)})")])
    paths = [one.path if isinstance(one, Model) else Path(os.path.expanduser(one)) for one in models]
    recipe, streams = recipe_of("mobilenet_v2", data, words)
    return make_soup(paths, recipe, method, streams, progress_of(on_event, cancelled))  # type: ignore[arg-type]
