"""Rank backbones on the user's data: cross-validated heads and transferability scores on a sample.

Each candidate embeds the same stratified sample of the training examples once; embeddings are cached, so that
a training with the chosen backbone computes only the rest. Test examples take no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from transfer_core import backbones
from transfer_core.data import MODALITIES, Dataset, DataSplits, Row, read_splits
from transfer_core.data.modality_of_source import modality_of
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset, fit_backbone
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.folds import left_out_rows
from transfer_core.heads.rows import rows_of
from transfer_core.pipeline.candidates import Candidate, candidates_for, named_candidates
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.devices import choose_device
from transfer_core.runtime.errors import DataError, DependencyError, Problem, RecipeError, TransferError
from transfer_core.runtime.parallel import one_blas_thread
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.tables import html
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.selection.transferability import h_score, log_me, n_leep, trans_rate
from transfer_core.tasks import TASKS, PooledTask, choose_task
from transfer_core.tasks.criteria import CLASSES

# Sampled examples: their embeddings rank backbones reliably, and take seconds.
SAMPLE = 400
_FOLDS = 5


@dataclass(frozen=True)
class Ranked:
    """One backbone on the user's data.

    Attributes
    ----------
    backbone
        Value of a recipe's `backbone`.
    expected
        The metric of a cross-validated linear head on the sample; usually higher with all examples.
    interval
        95 % bootstrap interval of the metric on the sample.
    log_loss
        Mean held-out loss of that head: the default order, the lowest first.
    scores
        Transferability scores: `log_me`; for classes also `h_score`, `trans_rate` and, with scikit-learn,
        `n_leep`.
    seconds_per_input
        Time of embedding on this machine; None if all embeddings were cached.
    parameters, license, paper
        Facts of the backbone; None or empty: unknown.
    """

    backbone: str
    expected: float
    interval: tuple[float, float]
    log_loss: float
    scores: dict[str, float]
    seconds_per_input: float | None
    parameters: int | None
    license: str
    paper: str


@dataclass(frozen=True)
class Ranking:
    """Backbones, the best first.

    Attributes
    ----------
    modality, task
        The kind of input, and the name of the task.
    metric
        Name of the expected metric: `accuracy`, `micro_f1`, `r2`.
    sampled, examples
        Examples that were used, and all training examples.
    backbones
        The ranked backbones.
    left_out
        Backbones that could not be ranked, with the reason.
    """

    modality: str
    task: str
    metric: str
    sampled: int
    examples: int
    backbones: tuple[Ranked, ...]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return html(self.to_dict())


def rank_backbones(
    recipe: Recipe,
    among: Sequence[str] | None,
    modality: str | None,
    budget: float,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> Ranking:
    """Rank backbones on the data of `recipe`, whose own backbone is ignored.

    Parameters
    ----------
    recipe
        Data, columns, split, task, seed, device and precision.
    among
        Names of backbones. None: a shortlist of those on this machine (`candidates_for`).
    modality
        `image`, `text` or `table`. None: that of `among`, or of the data.
    budget
        Seconds; no further backbone is begun afterwards, but one is always ranked.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.

    Raises
    ------
    RecipeError
        At `among`, if none of the backbones can be used for the data; at `budget`.
    DataError
        If the data can't be trained on.
    """
    began = monotonic()
    if not budget > 0:
        raise RecipeError([Problem("budget", f"expected seconds, more than 0 (got {budget:g})")])
    if among:
        candidates = named_candidates(among, recipe.trust)
    else:
        kept = {name: list(rows) for name, rows in streams.items()}
        candidates = candidates_for(modality or modality_of(recipe.data, recipe.columns, kept))
        streams = kept
    modalities = {candidate.facts.modality for candidate in candidates}
    if len(modalities) > 1:
        message = f"expected backbones for one kind of input (got {', '.join(sorted(modalities))})"
        raise RecipeError([Problem("among", message)])
    progress.stage("choose", f"rank {len(candidates)} backbones")
    with spool_folder() as spool:
        splits = _read(recipe, modalities.pop(), streams, spool, progress)
        sample = _stratified(splits, SAMPLE, recipe.seed)
        ranked, left_out = _rank_each(candidates, recipe, splits, sample, began + budget, progress)
    if not ranked:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise RecipeError([Problem("among", f"no backbone can be ranked on this data. {reasons}")])
    task = _task_of(splits)
    ranked.sort(key=lambda entry: (entry.log_loss, entry.backbone))
    examples = len(splits.train) + len(splits.valid)
    kind, metric = splits.modality.name, task.main_metric
    return Ranking(kind, task.name, metric, len(sample), examples, tuple(ranked), left_out)


def _read(
    recipe: Recipe, modality: str, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress
) -> DataSplits:
    splits = read_splits(recipe, MODALITIES[modality], choose_task, streams, spool, progress)
    task = TASKS[splits.task.name]
    if not isinstance(task, PooledTask):
        message = f"ranks backbones for tasks on embeddings, not for {task.name}"
        raise RecipeError([Problem("task", message)])
    return splits


def _task_of(splits: DataSplits) -> PooledTask[Any]:
    task = TASKS[splits.task.name]
    assert isinstance(task, PooledTask)
    return task


def _stratified(splits: DataSplits, most: int, seed: int) -> Dataset:
    """About `most` training examples, with the shares of their strata kept."""
    pool = splits.train.joined(splits.valid) if len(splits.valid) else splits.train
    if len(pool) <= most:
        return pool
    task = _task_of(splits)
    state = task.fit(splits.labels, pool)
    strata = task.criterion.strata(task.targets(pool, state))
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(pool))
    order = order[np.argsort(strata[order], kind="stable")]
    places = (np.arange(most) + generator.random()) * len(pool) / most
    return pool.take(sorted(order[places.astype(np.int64)].tolist()))


def _rank_each(
    candidates: Sequence[Candidate],
    recipe: Recipe,
    splits: DataSplits,
    sample: Dataset,
    deadline: float,
    progress: Progress,
) -> tuple[list[Ranked], dict[str, str]]:
    ranked: list[Ranked] = []
    left_out: dict[str, str] = {}
    for number, candidate in enumerate(candidates, start=1):
        name = candidate.facts.name
        if ranked and monotonic() > deadline:
            left_out[name] = "the budget was used up. Try: a larger budget, or fewer backbones in among"
            continue
        progress.stage("freeze", f"embed {len(sample)} {splits.modality.many} with {name}")
        try:
            ranked.append(_rank_one(candidate, recipe, splits, sample, progress))
        except DataError:
            raise
        except TransferError as error:
            left_out[name] = str(error)
        progress.advance("choose", number, len(candidates), "backbones")
    return ranked, left_out


def _rank_one(
    candidate: Candidate, recipe: Recipe, splits: DataSplits, sample: Dataset, progress: Progress
) -> Ranked:
    task, facts = _task_of(splits), candidate.facts
    loaded = backbones.load(facts.name, candidate.weights, progress, recipe.trust)
    backbone = fit_backbone(loaded, sample, splits.columns, recipe.on_bad_input, recipe.seed, progress)
    extractor = build_extractor(backbone, choose_device(recipe.device), recipe.precision, recipe.text)
    timer = _Timer(progress)
    found = embed_dataset(
        sample,
        [1] * len(sample),
        Views(),
        extractor,
        FeatureStore(),
        timer.progress,
        "freeze",
        recipe.on_bad_input,
        splits.modality.many,
    )
    if found.bad:
        sample = sample.take(i for i, input in enumerate(sample.inputs) if input not in found.bad)
    embeddings = np.asarray(found.embeddings, np.float32)
    state = task.fit(splits.labels, sample)
    targets = task.targets(sample, state)
    weights = task.weights(sample, splits.labels, state, None)
    rows = rows_of(embeddings, targets, weights, task.criterion, groups=sample.groups)
    outputs = len(splits.labels)
    fit = fit_linear(rows, outputs, _FOLDS, recipe.seed, Progress(cancelled=progress.cancelled))
    held_out = np.concatenate(left_out_rows(rows, _FOLDS, recipe.seed))
    values = task.decode(fit.held_out, state)
    metrics = task.metrics(values, sample.targets[held_out], splits.labels, state, recipe.seed)
    low, high = metrics["intervals"][task.main_metric]
    return Ranked(
        backbone=facts.name,
        expected=metrics[task.main_metric],
        interval=(low, high),
        log_loss=min(entry["validation_loss"] for entry in fit.path),
        scores=_scores(embeddings, targets, task, recipe.seed),
        seconds_per_input=timer.seconds_per_input,
        parameters=facts.parameters or None,
        license=candidate.license,
        paper=facts.paper,
    )


def _scores(embeddings: Any, targets: Any, task: PooledTask[Any], seed: int) -> dict[str, float]:
    # Several threads cost more than they gain on matrices of a sample.
    with one_blas_thread():
        scores = {"log_me": log_me(embeddings, np.asarray(targets))}
        if task.criterion.layout == CLASSES:
            scores |= {"h_score": h_score(embeddings, targets), "trans_rate": trans_rate(embeddings, targets)}
            with suppress(DependencyError):
                scores["n_leep"] = n_leep(embeddings, targets, seed)
    return scores


class _Timer:
    """Measures the rate of the events of an embedding."""

    def __init__(self, progress: Progress) -> None:
        self._began = monotonic()
        self._done = 0
        self._ended = self._began
        self.progress = replace(progress, emit=self._emit)
        self._next = progress.emit

    def _emit(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            self._done, self._ended = event["done"], monotonic()
        self._next(event)

    @property
    def seconds_per_input(self) -> float | None:
        """None if no input was embedded."""
        return (self._ended - self._began) / self._done if self._done else None
