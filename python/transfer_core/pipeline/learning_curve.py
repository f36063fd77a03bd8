"""Learning curve: the metric of a linear head on growing parts of the examples, and its extrapolation.

All parts share the cached embeddings: one forward pass per example, then only heads are fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data import Row
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.rows import Rows, rows_of
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.five_steps import choose
from transfer_core.pipeline.pooled_steps import freeze
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import DataError, Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.tables import html
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.selection.extrapolation import PowerLaw, fit_power_law
from transfer_core.tasks import PooledTask

Floats = npt.NDArray[np.float64]

_SHARES = (0.1, 0.18, 0.32, 0.56, 1.0)
# Draws of a part: small parts differ more.
_REPEATS = (5, 4, 3, 2, 1)
_FORECASTS = (1.5, 2, 4, 8)
_RESAMPLES = 200
_FOLDS = 5
_FEWEST = 20


@dataclass(frozen=True)
class Point:
    """The metric with this number of training examples, and its 95 % interval."""

    examples: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelForecast:
    """One label: training examples, recall on the test examples, and the expected gain in recall from
    `more` further examples of it."""

    label: str
    examples: int
    recall: float
    more: int
    gain: float


@dataclass(frozen=True)
class LearningCurve:
    """Measured and extrapolated metric by number of training examples.

    Attributes
    ----------
    modality
        The kind of input.
    metric
        `accuracy`, `micro_f1` or `r2`, on the test examples.
    measured
        Points on parts of the data; intervals cover the draws of a part and the test examples.
    forecast
        Points beyond the data, by a power law.
    labels
        By label, the largest gain first; empty for a regression.
    """

    modality: str
    metric: str
    measured: tuple[Point, ...]
    forecast: tuple[Point, ...]
    labels: tuple[LabelForecast, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return html(self.to_dict())


def learning_curve(
    recipe: Recipe,
    more: int,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> LearningCurve:
    """Measure and extrapolate the learning curve of the backbone of `recipe` with a linear head.

    Parameters
    ----------
    recipe
        Backbone, data, columns, split, task, seed.
    more
        Further examples of a label, whose gain is forecast.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.

    Raises
    ------
    RecipeError
        At `task`, if it is not computed from embeddings.
    DataError
        With fewer than 20 training examples, or without test examples.
    """
    with spool_folder() as spool:
        chosen = choose(recipe, streams, spool, progress)
        if not isinstance(chosen.plan.task, PooledTask):
            message = f"learning curves are for tasks on embeddings, not for {chosen.plan.task.name}"
            raise RecipeError([Problem("task", message)])
        frozen = freeze(chosen, progress)
    splits = frozen.splits
    available = len(splits.train) + len(splits.valid)
    if available < _FEWEST or not len(splits.test):
        message = f"a learning curve needs {_FEWEST} training examples and test examples"
        raise DataError(f"{message} (got {available} and {len(splits.test)})")
    return _curve(_Draws(frozen), more, progress)


class _Draws:
    """Fits heads on parts of the training examples and measures them."""

    def __init__(self, frozen: Frozen) -> None:
        self._frozen = frozen
        self.task, self.splits = frozen.task, frozen.splits
        pool = self.splits.train.joined(self.splits.valid)
        self.embeddings = np.concatenate(
            [np.asarray(frozen.train)[:: frozen.views], np.asarray(frozen.valid)]
        )
        self.seed = frozen.plan.recipe.seed
        weights = np.asarray(self.task.weights(pool, self.splits.labels, frozen.state, None))
        targets = np.asarray(self.task.targets(pool, frozen.state))
        self.rows = rows_of(self.embeddings, targets, weights, self.task.criterion, groups=pool.groups)
        self.counts = self.task.counts(pool.targets, self.splits.labels)
        self.strata = self.task.criterion.strata(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, size: int, repeat: int) -> Rows:
        """Draw a stratified part."""
        generator = np.random.default_rng([self.seed, size, repeat])
        order = generator.permutation(len(self))
        order = order[np.argsort(self.strata[order], kind="stable")]
        places = ((np.arange(size) + generator.random()) * len(self) / size).astype(np.int64)
        return self.rows.take(np.sort(order[places]))

    def measure(self, rows: Rows, progress: Progress) -> dict[str, Any]:
        """Metrics on the test examples of a head fitted on `rows`."""
        quiet = Progress(cancelled=progress.cancelled)
        fit = fit_linear(rows, len(self.splits.labels), _FOLDS, self.seed, quiet)
        test = self._frozen.test
        assert test is not None
        outputs = np.asarray(test) @ np.asarray(fit.weight).T + np.asarray(fit.bias)
        values = self.task.decode(outputs, self._frozen.state)
        targets, labels = self.splits.test.targets, self.splits.labels
        return self.task.metrics(values, targets, labels, self._frozen.state, self.seed)


def _curve(draws: _Draws, more: int, progress: Progress) -> LearningCurve:
    metric, labels = draws.task.main_metric, draws.splits.labels
    sizes = sorted({max(_FEWEST // 2, round(share * len(draws))) for share in _SHARES})
    repeats = _REPEATS[-len(sizes) :]
    progress.stage("train", f"fit heads on {len(sizes)} parts of {len(draws)} examples")
    found: list[list[dict[str, Any]]] = []
    done, total = 0, sum(repeats)
    for size, times in zip(sizes, repeats, strict=True):
        found.append([])
        for repeat in range(times):
            found[-1].append(draws.measure(draws.part(size, repeat), progress))
            done += 1
            progress.advance("train", done, total, "heads")
    values = [np.array([metrics[metric] for metrics in each]) for each in found]
    widths = [_half_width(each, metric) for each in found]
    measured = [
        Point(size, float(value.mean()), float(value.mean() - width), float(value.mean() + width))
        for size, value, width in zip(sizes, values, widths, strict=True)
    ]
    forecast = _forecasts(sizes, [1 - value.mean() for value in values], widths, draws.seed)
    recalls = [np.mean([_recalls(metrics) for metrics in each], axis=0) for each in found]
    per_label = _label_forecasts(sizes, recalls, draws, labels, more) if len(recalls[0]) else ()
    return LearningCurve(draws.splits.modality.name, metric, tuple(measured), forecast, per_label)


def _half_width(found: Sequence[dict[str, Any]], metric: str) -> float:
    """Half of a 95 % interval: the deviation of the draws and that of the test examples."""
    low, high = np.mean([metrics["intervals"][metric] for metrics in found], axis=0)
    spread = np.std([metrics[metric] for metrics in found], ddof=1) if len(found) > 1 else 0.0
    return float(np.hypot((high - low) / 2, 1.96 * spread / np.sqrt(len(found))))


def _forecasts(
    sizes: Sequence[int], errors: Sequence[float], widths: Sequence[float], seed: int
) -> tuple[Point, ...]:
    """Extrapolate, with intervals by a parametric bootstrap of the measured errors."""
    deviations = np.maximum(np.array(widths) / 1.96, 1e-4)
    weights = (deviations**-2).tolist()
    law = fit_power_law(sizes, errors, weights)
    generator = np.random.default_rng(seed)
    drawn = [
        fit_power_law(sizes, (errors + deviations * generator.standard_normal(len(sizes))).tolist(), weights)
        for _ in range(_RESAMPLES)
    ]
    points = []
    for factor in _FORECASTS:
        examples = round(sizes[-1] * factor)
        low, high = np.percentile([1 - other.error(examples) for other in drawn], (2.5, 97.5))
        value = 1 - law.error(examples)
        points.append(Point(examples, value, min(float(low), value), max(float(high), value)))
    return tuple(points)


def _recalls(metrics: Mapping[str, Any]) -> Floats:
    found = metrics.get("per_class") or metrics.get("per_label") or ()
    return np.array([entry["recall"] for entry in found])


def _label_forecasts(
    sizes: Sequence[int], recalls: Sequence[Floats], draws: _Draws, labels: Sequence[str], more: int
) -> tuple[LabelForecast, ...]:
    found = []
    for number, label in enumerate(labels):
        count = int(draws.counts[number])
        # Parts are stratified: a label has the same share of each.
        own = [max(1, round(size * count / sizes[-1])) for size in sizes]
        errors = [1 - float(recall[number]) for recall in recalls]
        law = fit_power_law(own, errors) if len(set(own)) > 1 else PowerLaw(errors[-1], 0.0, 1.0)
        gain = max(0.0, law.error(own[-1]) - law.error(own[-1] + more))
        found.append(LabelForecast(label, count, float(recalls[-1][number]), more, gain))
    return tuple(sorted(found, key=lambda entry: -entry.gain))
