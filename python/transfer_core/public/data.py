"""Analyze data before a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transfer_core.data.row_streams import name_streams
from transfer_core.findings.report import AuditReport
from transfer_core.kinds.domain_report import DomainReport
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
from transfer_core.public.keywords import progress_of, recipe_of
from transfer_core.recipe.messages import shown
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Event


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
    recipe, streams = recipe_of(backbone, data, words)
    return check_data(recipe, streams, progress_of(on_event, cancelled))


def audit(
    *,
    data: Any,
    backbone: str = "mobilenet_v2",
    report: str | os.PathLike[str] | None = None,
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
    report
        A file `….html` for one page with the findings and their pictures; None: none.
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
    recipe, streams = recipe_of(backbone, data, words)
    page = None if report is None else Path(os.path.expanduser(report))
    return audit_data(recipe, streams, progress_of(on_event, cancelled), page)


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
    return rank_backbones(recipe, among, modality, budget, streams, progress_of(on_event, cancelled))


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
        As `train` does for the recipe, the data and the weights; also for `backbone="auto"`, which takes its
        budget.

    Examples
    --------
    >>> import transfer_core
    >>> estimate = transfer_core.estimate(backbone="mobilenet_v2", data="photos/")  # doctest: +SKIP
    >>> round(estimate.seconds)  # doctest: +SKIP
    14
    """
    recipe, streams = recipe_of(backbone, data, words)
    return estimate_training(recipe, streams, progress_of(on_event, cancelled))


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
    return measure_learning_curve(recipe, more, streams, progress_of(on_event, cancelled))


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
    recipe, streams = recipe_of(backbone, second, {**words, "source": first})
    return compare(recipe, streams, progress_of(on_event, cancelled))


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
    recipe, streams = recipe_of(backbone, target, {**words, "source": source})
    return find_label_map(recipe, streams, progress_of(on_event, cancelled))
