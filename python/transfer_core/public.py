"""Public functions of the package, with the fields of a recipe as keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfer_core.data.row_streams import Rows, name_domains, name_streams
from transfer_core.findings.report import AuditReport
from transfer_core.kinds.domain_report import DomainReport
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.pipeline.compare_domains import compare
from transfer_core.pipeline.data_audit import audit_data
from transfer_core.pipeline.data_check import DataReport, check_data
from transfer_core.pipeline.estimate import Estimate
from transfer_core.pipeline.estimate import estimate as estimate_training
from transfer_core.pipeline.label_map import LabelMap
from transfer_core.pipeline.label_map import map_labels as find_label_map
from transfer_core.pipeline.learning_curve import LearningCurve
from transfer_core.pipeline.learning_curve import learning_curve as measure_learning_curve
from transfer_core.pipeline.ranking import Ranking, rank_backbones
from transfer_core.pipeline.soup import soup as make_soup
from transfer_core.pipeline.training import train as run_training
from transfer_core.recipe.messages import shown
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.runtime.progress import Event, Progress


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
    recipe, streams = _recipe(backbone, data, words)
    return run_training(recipe, streams, _progress(on_event, cancelled))


def check(
    *,
    data: Any,
    backbone: str = "mobilenet_v2",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> DataReport:
    """Validate data as `train` does, and decode every image, without a training.

    Parameters
    ----------
    data, on_event, cancelled, words
        As for `train`.
    backbone
        Backbone of the training; it determines whether inputs are images, texts or rows of a table.

    Returns
    -------
    DataReport
        `ok`, `problems` that would stop the training, `warnings`, `labels` with counts, `sizes`.

    Raises
    ------
    TransferError
        If the recipe is wrong, or the check was cancelled.
    """
    recipe, streams = _recipe(backbone, data, words)
    return check_data(recipe, streams, _progress(on_event, cancelled))


def audit(
    *,
    data: Any,
    backbone: str = "mobilenet_v2",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> AuditReport:
    """Audit labelled data without a training: duplicates, wrong labels, outliers, leaks.

    Parameters
    ----------
    data, on_event, cancelled
        As for `train`.
    backbone
        Backbone of the embeddings; it determines whether inputs are images, texts or rows of a table.
    words
        Other fields of a recipe: `task`, `columns`, `split` (its `group`), `corrections`, `seed`, `device`.

    Returns
    -------
    AuditReport
        `findings` by kind; `str()` is a text, and `save("audit.csv")` writes a table that, corrected, `train`
        takes as `corrections`.

    Raises
    ------
    TransferError
        If the recipe or the data are invalid, or the task is not computed from embeddings.

    Examples
    --------
    >>> import transfer_core
    >>> report = transfer_core.audit(data="photos/")  # doctest: +SKIP
    >>> report.counts  # doctest: +SKIP
    {'near_duplicate': 3, 'wrong_label': 12}
    """
    recipe, streams = _recipe(backbone, data, words)
    return audit_data(recipe, streams, _progress(on_event, cancelled))


def rank(
    *,
    data: Any,
    among: Sequence[str] | None = None,
    modality: str | None = None,
    budget: float = 60.0,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> Ranking:
    """Rank backbones on labelled data: a cross-validated head on the embeddings of a sample.

    Parameters
    ----------
    data, on_event, cancelled
        As for `train`.
    among
        Names of backbones. Default: those on this machine that suit the data.
    modality
        `image`, `text` or `table`. Default: that of `among`, or of the columns of the data.
    budget
        Seconds after which no further backbone is begun.
    words
        Other fields of a recipe: `task`, `columns`, `split`, `seed`, `device`, `precision`, `on_bad_input`.

    Returns
    -------
    Ranking
        `backbones`, the best first, each with its expected metric, and `left_out`.

    Raises
    ------
    TransferError
        If the recipe or the data are invalid, or no backbone can be ranked.

    Examples
    --------
    >>> import transfer_core
    >>> ranking = transfer_core.rank(data="photos/")  # doctest: +SKIP
    >>> ranking.backbones[0].backbone  # doctest: +SKIP
    'mobilenet_v2'
    """
    if isinstance(among, str) or not all(isinstance(name, str) for name in among or ()):
        raise RecipeError([Problem("among", f"expected names of backbones (got {shown(among)})")])
    if not isinstance(budget, int | float) or isinstance(budget, bool):
        raise RecipeError([Problem("budget", f"expected seconds (got {shown(budget)})")])
    source, streams = name_streams(data)
    recipe = parse_recipe({"backbone": "mobilenet_v2", "data": source, **words})
    return rank_backbones(recipe, among, modality, budget, streams, _progress(on_event, cancelled))


def estimate(
    *,
    backbone: str,
    data: Any,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> Estimate:
    """Estimate time, memory and disk space of a training, by a pilot of seconds on a few of its examples.

    Parameters
    ----------
    backbone, data, on_event, cancelled, words
        As for `train`.

    Returns
    -------
    Estimate
        `steps`, each with `seconds`, `memory` and `disk`, their sums, and `warnings`.

    Raises
    ------
    TransferError
        As `train` does for the recipe, the data and the weights; also for a task that is not on embeddings.

    Examples
    --------
    >>> import transfer_core
    >>> estimate = transfer_core.estimate(backbone="mobilenet_v2", data="photos/")  # doctest: +SKIP
    >>> round(estimate.seconds)  # doctest: +SKIP
    14
    """
    recipe, streams = _recipe(backbone, data, words)
    return estimate_training(recipe, streams, _progress(on_event, cancelled))


def learning_curve(
    *,
    data: Any,
    backbone: str,
    more: int = 200,
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> LearningCurve:
    """Measure a linear head on growing parts of the data, and extrapolate to more data.

    Parameters
    ----------
    data, backbone, on_event, cancelled
        As for `train`.
    more
        Further examples of one label, whose gain in recall is forecast.
    words
        Other fields of a recipe: `task`, `columns`, `split`, `seed`, `device`, `precision`, `on_bad_input`.

    Returns
    -------
    LearningCurve
        `measured` and `forecast` points, and `labels` with the expected gain of each.

    Raises
    ------
    TransferError
        If the recipe or the data are invalid, or the data are too few.
    """
    if not isinstance(more, int) or isinstance(more, bool) or more < 1:
        raise RecipeError([Problem("more", f"expected a number of examples, at least 1 (got {shown(more)})")])
    source, streams = name_streams(data)
    recipe = parse_recipe({"backbone": backbone, "data": source, **words})
    return measure_learning_curve(recipe, more, streams, _progress(on_event, cancelled))


def compare_domains(
    first: Any,
    second: Any,
    *,
    backbone: str = "mobilenet_v2",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> DomainReport:
    """Compare two domains by the embeddings of a frozen backbone.

    Parameters
    ----------
    first, second
        Folders, manifests or iterables of rows, as `data` of `train`; labels may be missing.
    backbone
        Backbone of the embeddings; it determines whether inputs are images, texts or rows of a table.
    on_event, cancelled
        As for `train`.
    words
        Other fields of a recipe, such as `columns`.

    Returns
    -------
    DomainReport
        Distances, features and classes that differ, confidence, typical inputs; `str()` is a text.

    Raises
    ------
    TransferError
        If a domain is empty or can't be read, or a word is wrong.
    """
    recipe, streams = _recipe(backbone, second, {**words, "source": first})
    return compare(recipe, streams, _progress(on_event, cancelled))


def map_labels(
    source: Any,
    target: Any,
    *,
    backbone: str = "mobilenet_v2",
    on_event: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **words: Any,
) -> LabelMap:
    """Pair labels of a source with labels of a target by the affinity of their mean embeddings.

    Parameters
    ----------
    source, target
        Labelled folders, manifests or iterables of rows, as `data` of `train`.
    backbone
        Backbone of the embeddings; it determines whether inputs are images, texts or rows of a table.
    on_event, cancelled
        As for `train`.
    words
        Other fields of a recipe, such as `columns`.

    Returns
    -------
    LabelMap
        A table, which `corrected` changes; `train` takes it as `map_labels`.

    Raises
    ------
    TransferError
        If a domain has fewer than two labels or can't be read, or a word is wrong.
    """
    recipe, streams = _recipe(backbone, target, {**words, "source": source})
    return find_label_map(recipe, streams, _progress(on_event, cancelled))


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
    recipe, streams = _recipe("mobilenet_v2", data, words)
    return make_soup(paths, recipe, method, streams, _progress(on_event, cancelled))  # type: ignore[arg-type]


def resume(
    run: str,
    *,
    data: Any = None,
    trust: bool = False,
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
    return five_steps.resume(run, source, streams, _progress(on_event, cancelled), trust)


def _recipe(backbone: str | None, data: Any, words: Mapping[str, Any]) -> tuple[Recipe, dict[str, Rows]]:
    """The recipe, with iterables of rows as named streams."""
    source, streams = name_streams(data)
    words, more = name_domains(words)
    if isinstance(words.get("map_labels"), LabelMap):
        words = {**words, "map_labels": words["map_labels"].names}
    named = {} if backbone is None else {"backbone": backbone}
    recipe = parse_recipe({**named, "data": source, **_with_train_step(words)})
    return recipe, streams | more


def _progress(on_event: Callable[[Event], None] | None, cancelled: Callable[[], bool] | None) -> Progress:
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
