"""Select the unlabelled inputs whose labels are expected to improve a model the most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from transfer_core.data import Dataset, Row
from transfer_core.data.example import Example
from transfer_core.data.groups import DisjointSets, Edge
from transfer_core.data.near_images import near_images
from transfer_core.data.row_streams import name_streams, rows_of_inputs
from transfer_core.data.source import SourceContext, read_source
from transfer_core.data.usable import keep_usable, naming_all
from transfer_core.features import FeatureStore, Views, embed_dataset
from transfer_core.features.thumbnails import Seen, thumbnails_of
from transfer_core.model.evaluation import columns_for
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.selection.active_learning import (
    Choice,
    badge,
    core_set,
    most_uncertain,
    smallest_margin,
)
from transfer_core.tasks import TASKS, PooledTask
from transfer_core.tasks.criteria import CLASSES, VALUES

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model.pooled_predictor import PooledPredictor

Floats = npt.NDArray[np.floating[Any]]

METHODS = ("auto", "uncertainty", "margin", "core_set", "badge", "random")


@dataclass(frozen=True)
class Selected:
    """A selected input.

    Attributes
    ----------
    input
        The path of an image, the text, or the row; the name of an image that was given as bytes.
    index
        Its place in the data, from 0.
    score
        The value by which `method` selected it: the higher, the more useful is its label.
    """

    input: Any
    index: int
    score: float


@dataclass(frozen=True)
class Selection:
    """Inputs to label next, the most useful first.

    Attributes
    ----------
    method
        The method that selected them; never `auto`.
    considered
        Number of inputs without copies and near-duplicates of each other and of labelled ones.
    inputs
        The selected inputs.
    """

    method: str
    considered: int
    inputs: tuple[Selected, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self)


def select_inputs(
    model: Model,
    unlabelled: Any,
    count: int,
    method: str,
    labelled: Any,
    columns: Mapping[str, Any] | None,
    on_bad_input: str,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> Selection:
    """See `Model.select`; `streams` are rows by name for data that is `{"stream": name}`."""
    method = _checked(model, count, method)
    words = {"backbone": model.header.backbone.name, "on_bad_input": on_bad_input}
    words["columns"] = columns_for(model.header, columns)
    with spool_folder() as spool:
        examples: list[Example] = []
        sizes = []
        for pool in (unlabelled, labelled):
            if pool is not None:
                source, rows = name_streams(rows_of_inputs(pool))
                recipe = parse_recipe({**words, "data": source})
                given = rows or streams
                where = model.modality, recipe.columns, given, spool, progress
                context = SourceContext(*where, labels="none", lacks_subgroups=True)
                examples += read_source(recipe.data, context).examples
            sizes.append(len(examples))
        pool = _embedded(model, examples, recipe, progress)
    index = {id(example): number for number, example in enumerate(examples)}
    places = np.array([index[id(example)] for example in pool.examples], np.int64)
    is_labelled = places >= sizes[0]
    candidates = _representatives(pool.data.digests, pool.edges, is_labelled)
    many = model.modality.many
    progress.stage("evaluate", f"select {min(count, len(candidates))} of {len(candidates)} {many}")
    chosen = _choose(model, method, pool.embeddings[candidates], pool.embeddings[is_labelled], count)
    selected = (
        Selected(_shown(pool.examples[row], model.modality.name), int(places[row]), score)
        for row, score in zip(candidates[chosen.indices].tolist(), chosen.scores.tolist(), strict=True)
    )
    return Selection(method, len(candidates), tuple(selected))


@dataclass(frozen=True)
class _Pool:
    """N readable examples, their embeddings (N, D), and pairs of near-duplicates."""

    examples: list[Example]
    data: Dataset
    embeddings: Floats
    edges: list[Edge]


def _embedded(model: Model, examples: list[Example], recipe: Recipe, progress: Progress) -> _Pool:
    many = model.modality.many
    seen: Seen | None = {} if model.modality.name == "image" else None
    task = TASKS["regression"]  # none of whose targets contradict each other
    nothing = np.zeros(len(examples), np.float32)
    usable = keep_usable(examples, task, (), nothing, recipe.on_bad_input, model.modality, progress)
    extractor = cast("PooledPredictor", model.predictor).extractor
    store = None if model.header.backbone.fine_tuned else FeatureStore()
    once, skip = [1] * len(usable.data), recipe.on_bad_input
    progress.stage("freeze", f"embed {len(usable.data)} {many}")
    with naming_all([usable.data], model.modality, progress):
        found = embed_dataset(
            usable.data, once, Views(), extractor, store, progress, "freeze", skip, many, seen
        )
    kept = [row for row, input in enumerate(usable.data.inputs) if input not in found.bad]
    data = usable.data.take(kept)
    if seen is None:
        edges = model.modality.near_duplicates(data.inputs, progress.check)
    else:
        thumbnails = thumbnails_of(data, model.backbone.preprocessing, seen, progress)
        edges = near_images(thumbnails, progress.check)
    rows = np.asarray(found.embeddings, np.float32)
    return _Pool([usable.examples[row] for row in kept], data, rows, edges)


def _checked(model: Model, count: int, method: str) -> str:
    """The method; raises `RecipeError` for one that the task doesn't have."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise RecipeError([Problem("count", f"expected a number of inputs, at least 1 (got {count!r})")])
    if method not in METHODS:
        nearest = did_you_mean(str(method), METHODS)
        choices = ", ".join(METHODS)
        raise RecipeError([Problem("method", f'unknown method "{method}"{nearest} (one of: {choices})')])
    if not isinstance(model.task, PooledTask):
        message = f"inputs are selected by embeddings, which a model for {model.task.name} does not have"
        raise RecipeError([Problem("method", message)])
    layout = model.task.criterion.layout
    if method == "auto":
        return "core_set" if layout == VALUES else "margin"
    if (layout == VALUES and method in ("uncertainty", "margin", "badge")) or (
        layout != CLASSES and method == "badge"
    ):
        choices = "core_set, random" if layout == VALUES else "uncertainty, margin, core_set, random"
        message = f'"{method}" is not for a model of {model.task.name}. Fix: one of {choices}'
        raise RecipeError([Problem("method", message)])
    return method


def _representatives(
    digests: tuple[str, ...], edges: list[Edge], labelled: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """One row of each group of near-duplicates that has no labelled row."""
    sets, first = DisjointSets(len(digests)), dict[str, int]()
    for row, digest in enumerate(digests):
        sets.unite(first.setdefault(digest, row), row)
    for edge in edges:
        sets.unite(edge.first, edge.second)
    groups = sets.labels()
    return np.setdiff1d(groups, groups[labelled])


def _choose(model: Model, method: str, embeddings: Floats, labelled: Floats, count: int) -> Choice:
    seed = int(model.header.recipe.get("seed", 0))
    if method == "random" or not len(embeddings):
        drawn = np.random.default_rng(seed).permutation(len(embeddings))[:count]
        return Choice(drawn, np.zeros(len(drawn)))
    if method == "core_set":
        return core_set(embeddings, labelled, count)
    probabilities = cast("PooledPredictor", model.predictor).values(embeddings)
    if cast(PooledTask[Any], model.task).criterion.layout != CLASSES:
        return _of_labels(method, probabilities, count)
    if method == "badge":
        return badge(embeddings, probabilities, count, seed)
    return (most_uncertain if method == "uncertainty" else smallest_margin)(probabilities, count)


def _of_labels(method: str, probabilities: Floats, count: int) -> Choice:
    """Independent labels (N, K): the mean entropy over labels, or the smallest margin of one label."""
    pairs = np.stack([probabilities, 1 - probabilities], axis=2).reshape(-1, 2)
    by = most_uncertain if method == "uncertainty" else smallest_margin
    of_pair = np.empty(len(pairs))
    every = by(pairs, len(pairs))
    of_pair[every.indices] = every.scores
    each = of_pair.reshape(probabilities.shape)
    scores = each.mean(axis=1) if method == "uncertainty" else each.max(axis=1)
    indices = np.argsort(-scores, kind="stable")[:count]
    return Choice(indices, scores[indices])


def _shown(example: Example, modality: str) -> Any:
    if modality == "image":
        return example.name
    if modality == "table":
        return dict(zip(example.columns, example.input, strict=False)) if example.columns else example.name
    return example.input
