"""Regression: one or several numbers, in the units of the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from transfer_core.data import Dataset
from transfer_core.data.bad_input import listed, printable
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.data.labels import check_label_count, check_present, number, plain
from transfer_core.metrics import regression_metrics
from transfer_core.metrics.conformal import calibration_rows, interval_metrics, value_scores
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.tasks.coverage import quantile
from transfer_core.tasks.criteria import Array, SquaredError
from transfer_core.tasks.number_labels import numbers_of, whole_number_task, whole_numbers
from transfer_core.tasks.task import ExampleScores, PooledTask, Recognition, Size, State, Value

# Values keep 64 bits, as differences between large ones need; within this range nothing overflows.
_LARGEST = float(np.finfo(np.float32).max)


class RegressionState(State, frozen=True, kw_only=True, tag="regression"):
    """A value is `mean + scale * output`, per output; `nonconformity` has sorted absolute errors of held-out
    examples, per output."""

    mean: tuple[Value, ...]
    scale: tuple[Size, ...]
    nonconformity: tuple[tuple[Size, ...], ...] = ()

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """See `State`."""
        outputs = len(labels)
        for field, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) != outputs:
                yield f"{field}: expected {outputs} values, one for each output (got {len(values)})"
        if len(self.nonconformity) not in (0, outputs):
            yield f"nonconformity: expected {outputs} lists, or none (got {len(self.nonconformity)})"
        if any(list(scores) != sorted(scores) for scores in self.nonconformity):
            yield "nonconformity: expected sorted numbers"


class Regression(PooledTask[RegressionState]):
    """See `Task`."""

    name = "regression"
    noun, nouns = "output", "outputs"
    categorical = False
    criterion = SquaredError()
    loss = criterion.name
    main_metric = "r2"
    state_type = RegressionState

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """The names of the outputs, and the values, float64 (N, K)."""
        rows = [_numbers(example) for example in examples]
        check_label_count(rows[0], self.nouns)
        for example, row in zip(examples, rows, strict=True):
            if len(row) != len(rows[0]):
                raise DataError(
                    f"{printable(example.name)}: {_outputs(len(row))}, but {printable(examples[0].name)} "
                    f"has {len(rows[0])}; each needs the same outputs"
                )
        return _output_names(columns, len(rows[0])), np.array(rows, dtype=np.float64)

    def recognize(self, labels: Sequence[Any]) -> Recognition | None:
        """Lists of numbers; numbers of which one is not whole; whole numbers that are rarely equal."""
        if isinstance(labels[0], list | tuple | set | frozenset):
            return Recognition()
        if numbers_of(labels) is None:
            return None
        numbers = whole_numbers(labels)
        if numbers is None:
            return Recognition()
        task, warning = whole_number_task(numbers)
        return Recognition(warning) if task == self.name else None

    def strata(self, targets: Targets) -> Strata:
        """One stratum."""
        return [0] * len(targets)

    def describe(self, target: Any, labels: Sequence[str]) -> Any:
        """The values."""
        return target

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """The values must differ."""
        if not (targets == targets[0]).all():
            return None
        same = ", ".join(f"{value:.15g}" for value in targets[0])
        return f"every {part}target is {same}; nothing to learn"

    def fit(self, labels: Sequence[str], train: Dataset) -> RegressionState:
        """Mean and standard deviation; 1 for a constant output, whose spread is at most rounding."""
        targets = train.targets
        # Large values that lie close together would lose their spread in a sum of them all.
        from_first = targets - targets[0]
        mean, scale = targets[0] + from_first.mean(axis=0), from_first.std(axis=0)
        varies = scale > 1e-12 * np.abs(mean)
        return RegressionState(mean=tuple(mean.tolist()), scale=tuple(np.where(varies, scale, 1.0).tolist()))

    def targets(self, dataset: Dataset, state: RegressionState) -> Array:
        """Standardized values, float32 (N, K)."""
        scaled: Array = ((dataset.targets - np.array(state.mean)) / np.array(state.scale)).astype(np.float32)
        return scaled

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """There are no classes."""
        yield "a regression has no classes"

    def decode(self, outputs: Array, state: RegressionState) -> Array:
        """Values."""
        values: Array = outputs.astype(np.float64) * np.array(state.scale) + np.array(state.mean)
        return values

    def prediction(
        self, values: list[float], labels: Sequence[str], state: RegressionState, level: float | None
    ) -> dict[str, Any]:
        """`value`, or `values` by name; with a level `interval`, or `intervals` by name: `[low, high]`."""
        several = len(values) > 1
        found: dict[str, Any] = (
            {"values": dict(zip(labels, values, strict=True))} if several else {"value": values[0]}
        )
        if level is not None:
            halves = [quantile(scores, level) for scores in state.nonconformity]
            intervals = [[value - half, value + half] for value, half in zip(values, halves, strict=True)]
            by_name = {"intervals": dict(zip(labels, intervals, strict=True))}
            found |= by_name if several else {"interval": intervals[0]}
        return found

    def metrics(
        self, values: Array, targets: Array, labels: Sequence[str], state: RegressionState, seed: int
    ) -> dict[str, Any]:
        """See `regression_metrics`; and coverage and width of intervals at 0.9."""
        # The baseline predicts the mean of the training targets.
        found = regression_metrics(values, targets, labels, np.array([state.mean]), seed)
        intervals = interval_metrics(values, targets, labels, state.nonconformity, seed)
        return {**found, "conformal": intervals} if intervals else found

    def example_scores(
        self, values: Array, targets: Array, labels: Sequence[str], state: RegressionState
    ) -> ExampleScores:
        """Absolute errors, averaged over the outputs."""
        errors = np.abs(values - targets).mean(axis=1)
        return ExampleScores("mae", errors, lower_is_better=True)

    def calibrate(self, state: RegressionState, outputs: Array, targets: Array) -> RegressionState:
        """Nonconformity scores."""
        some = calibration_rows(len(outputs))
        values, truth = (self.decode(part[some], state) for part in (outputs, targets))
        return replace(state, nonconformity=tuple(map(tuple, value_scores(values, truth))))

    def conformal_scores(self, state: RegressionState) -> Sequence[Sequence[float]]:
        """Absolute errors per output."""
        return state.nonconformity


def _outputs(count: int) -> str:
    return "1 output" if count == 1 else f"{count} outputs"


def _output_names(columns: Columns, count: int) -> tuple[str, ...]:
    if not isinstance(columns.target, str):
        return (
            columns.target if len(columns.target) == count else tuple(f"output_{i + 1}" for i in range(count))
        )
    return (columns.target,) if count == 1 else tuple(f"{columns.target}_{i + 1}" for i in range(count))


def _numbers(example: Example) -> list[float]:
    label = plain(example.label)
    parts = list(label) if isinstance(label, list | tuple) else [label]
    if not parts:
        raise DataError(f"{printable(example.name)}: the label is empty")
    numbers = []
    for part in map(plain, parts):
        check_present(example, part)
        value = number(part)
        if value is None:
            raise DataError(
                f"{printable(example.name)}: the label {listed([str(part)])} is not a number, as regression "
                "needs (for classes say task: :classification)"
            )
        check_present(example, value)
        if math.isinf(value) or abs(value) > _LARGEST:
            raise DataError(f"{printable(example.name)}: the label {value} is not a finite 32-bit number")
        numbers.append(value)
    return numbers
