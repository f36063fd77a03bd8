"""Multi-label classification: any number of labels, with a probability and a threshold for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from transfer_core.data import Dataset
from transfer_core.data.bad_input import listed
from transfer_core.data.example import Cell, Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.metrics import fit_label_temperature, multi_label_metrics
from transfer_core.metrics.thresholds import DEFAULT_THRESHOLD, best_thresholds
from transfer_core.recipe.fields import Probability
from transfer_core.recipe.schema import Columns
from transfer_core.tasks.criteria import Array, BinaryCrossEntropy, sigmoid
from transfer_core.tasks.label_sets import label_sets
from transfer_core.tasks.named_labels import balanced_weights, by_name, counts_problem, unknown_names
from transfer_core.tasks.task import Amount, ExampleScores, PooledTask, Recognition, State, Temperature


class MultiLabelState(State, frozen=True, kw_only=True, tag="multi_label"):
    """`label_counts` of `examples` training examples have each label; `temperature` divides the outputs
    before the sigmoid; a label is predicted if its probability is at least its threshold."""

    label_counts: tuple[Amount, ...] = ()
    examples: Amount = 0
    temperature: Temperature = 1.0
    thresholds: tuple[Probability, ...] = ()

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """See `State`."""
        yield from counts_problem("label_counts", self.label_counts, labels)
        yield from counts_problem("thresholds", self.thresholds, labels)


class MultiLabel(PooledTask[MultiLabelState]):
    """See `Task`."""

    name = "multi_label"
    noun, nouns = "label", "labels"
    categorical = True
    criterion = BinaryCrossEntropy()
    loss = criterion.name
    main_metric = "micro_f1"
    state_type = MultiLabelState

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """See `label_sets`."""
        return label_sets(examples, columns, labels)

    def recognize(self, labels: Sequence[Any]) -> Recognition | None:
        """Lists of names, or only empty lists."""
        lists = [label for label in labels if isinstance(label, list | tuple | set | frozenset)]
        if not lists or lists[0] is not labels[0]:
            return None
        filled = next(filter(len, lists), ())
        # A file without types has numbers as text.
        names = any(isinstance(part, str) and not isinstance(part, Cell) for part in filled)
        return Recognition() if names or not filled else None

    def strata(self, targets: Targets) -> Strata:
        """The label sets."""
        return targets

    def counts(self, targets: Targets, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Examples that have each label."""
        counts: npt.NDArray[np.int64] = targets.sum(axis=0)
        return counts

    def indices(self, target: Any) -> Sequence[int]:
        """The labels that an example has."""
        indices: list[int] = np.flatnonzero(target).tolist()
        return indices

    def describe(self, target: Any, labels: Sequence[str]) -> list[str]:
        """The names of the labels."""
        return list(compress(labels, target))

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """Each label needs examples with and without it."""
        counts = self.counts(targets, labels).tolist()
        never, always = (
            [name for name, n in zip(labels, counts, strict=True) if n == edge] for edge in (0, len(targets))
        )
        if never:
            return f"no example has the label {listed(never)}: leave it out, or add examples with it"
        if always:
            return (
                f"every example has the label {listed(always)}, there is nothing to tell apart: leave it "
                "out, or add examples without it"
            )
        return None

    def fit(self, labels: Sequence[str], train: Dataset) -> MultiLabelState:
        """Count the labels."""
        counts = tuple(self.counts(train.targets, labels).tolist())
        return MultiLabelState(label_counts=counts, examples=len(train))

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """Messages about unknown labels."""
        yield from unknown_names(class_weights, labels, self.noun, self.nouns)

    def weights(
        self,
        dataset: Dataset,
        labels: Sequence[str],
        state: MultiLabelState,
        class_weights: Mapping[str, float] | str | None,
    ) -> Array:
        """Weights (N, K): by name where an example has the label and 1 where not; or balanced between the
        examples with and without each label."""
        if class_weights in (None, "none"):
            return np.ones(len(dataset), np.float32)
        if isinstance(class_weights, Mapping):
            with_label, without = by_name(class_weights, labels), np.ones(len(labels), np.float32)
        else:
            rest = [state.examples - count for count in state.label_counts]
            with_label = balanced_weights(state.label_counts, state.examples, 2)
            without = balanced_weights(rest, state.examples, 2)
        return np.where(dataset.targets, with_label, without)

    def decode(self, outputs: Array, state: MultiLabelState) -> Array:
        """Independent probabilities."""
        return sigmoid(outputs.astype(np.float64) / state.temperature)

    def prediction(
        self, values: list[float], labels: Sequence[str], state: MultiLabelState, level: float | None
    ) -> dict[str, Any]:
        """`labels`, which may be empty, and `scores` of all labels; highest first."""
        rows = zip(labels, values, _thresholds(state, labels), strict=True)
        ranked = sorted(rows, key=lambda row: -row[1])
        return {
            "labels": [label for label, score, threshold in ranked if score >= threshold],
            "scores": {label: score for label, score, _ in ranked},
        }

    def metrics(
        self, values: Array, targets: Array, labels: Sequence[str], state: MultiLabelState, seed: int
    ) -> dict[str, Any]:
        """See `multi_label_metrics`."""
        counts = np.array(state.label_counts or (0,) * len(labels))
        shares = counts / max(1, state.examples, *counts)
        return multi_label_metrics(values, targets, labels, _thresholds(state, labels), shares, seed)

    def example_scores(
        self, values: Array, targets: Array, labels: Sequence[str], state: MultiLabelState
    ) -> ExampleScores:
        """1 where all labels are right."""
        right = ((values >= np.array(_thresholds(state, labels))) == targets).all(axis=1)
        return ExampleScores("exact_match", right.astype(np.float64))

    def calibrate(self, state: MultiLabelState, outputs: Array, targets: Array) -> MultiLabelState:
        """Temperature scaling, and for each label the threshold with the best F1."""
        state = replace(state, temperature=fit_label_temperature(outputs, targets))
        thresholds = best_thresholds(self.decode(outputs, state), targets)
        return replace(state, thresholds=tuple(thresholds.tolist()))

    def calibration_warnings(
        self, labels: Sequence[str], state: MultiLabelState, targets: Array
    ) -> Iterator[str]:
        """Labels without positive held-out examples to fit their threshold on."""
        chosen = targets if state.thresholds else np.zeros((0, len(labels)), bool)
        unknown = [label for label, has in zip(labels, chosen.T, strict=True) if not has.any()]
        if unknown:
            names = listed(unknown)
            yield f"no held-out example has the label {names}: its threshold is {DEFAULT_THRESHOLD:g}"


def _thresholds(state: MultiLabelState, labels: Sequence[str]) -> tuple[float, ...]:
    return state.thresholds or (DEFAULT_THRESHOLD,) * len(labels)
