"""Classification: one of several classes, with a probability for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from transfer_core.data import Dataset, DataSplits
from transfer_core.data.bad_input import listed, printable
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.data.labels import check_label_count, check_present, clean_name, plain
from transfer_core.metrics import classification_metrics, fit_temperature
from transfer_core.metrics.conformal import calibration_rows, class_scores, in_set, set_metrics
from transfer_core.metrics.shift import balance_warnings
from transfer_core.metrics.tfidf import tfidf_metrics
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.tasks.coverage import quantile
from transfer_core.tasks.criteria import Array, CrossEntropy, softmax
from transfer_core.tasks.named_labels import balanced_weights, by_name, counts_problem, unknown_names
from transfer_core.tasks.number_labels import amounts_warning, whole_number_task, whole_numbers
from transfer_core.tasks.task import Amount, ExampleScores, PooledTask, Recognition, Size, State, Temperature

# The largest class is this many times the smallest: the classes are unbalanced.
_IMBALANCE = 10


class ClassificationState(State, frozen=True, kw_only=True, tag="classification"):
    """`label_counts` are training examples per class, `temperature` divides the outputs before the softmax
    (Guo et al. 2017), `nonconformity` has sorted values of 1 - p of the true class of held-out examples."""

    label_counts: tuple[Amount, ...] = ()
    temperature: Temperature = 1.0
    nonconformity: tuple[Size, ...] = ()

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """See `State`."""
        yield from counts_problem("label_counts", self.label_counts, labels)
        if list(self.nonconformity) != sorted(self.nonconformity):
            yield "nonconformity: expected sorted numbers"


class Classification(PooledTask[ClassificationState]):
    """See `Task`."""

    name = "classification"
    noun, nouns = "class", "classes"
    categorical = True
    criterion = CrossEntropy()
    loss = criterion.name
    main_metric = "accuracy"
    state_type = ClassificationState

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """The sorted class names, and the class of each example, int64 (N,)."""
        names = [_class_name(example) for example in examples]
        known = tuple(sorted(set(names))) if labels is None else tuple(labels)
        check_label_count(known, self.nouns)
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise DataError(f"the model has no class {listed(unknown)} (its classes: {listed(known)})")
        index = {name: i for i, name in enumerate(known)}
        return known, np.array([index[name] for name in names], dtype=np.int64)

    def recognize(self, labels: Sequence[Any]) -> Recognition:
        """All labels not recognized by another task; with a warning if numbers become classes."""
        numbers = whole_numbers(labels)
        if numbers is None:
            return Recognition(amounts_warning(labels))
        return Recognition(whole_number_task(numbers)[1])

    def strata(self, targets: Targets) -> Strata:
        """The classes."""
        strata: list[int] = targets.tolist()
        return strata

    def counts(self, targets: Targets, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Examples per class."""
        return np.bincount(targets, minlength=len(labels))

    def indices(self, target: Any) -> Sequence[int]:
        """The class."""
        return [int(target)]

    def describe(self, target: Any, labels: Sequence[str]) -> str:
        """The name of the class."""
        return labels[int(target)]

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """A classifier needs two classes."""
        if len(labels) > 1:
            return None
        return f"all {inputs} have the label {listed(labels)}; a classifier needs two classes"

    def data_warnings(self, splits: DataSplits, weighted: bool) -> Iterator[str]:
        """Unbalanced classes."""
        counts = self.counts(splits.train.targets, splits.labels)
        most, least = int(counts.argmax()), int(counts.argmin())
        if weighted or counts[most] < _IMBALANCE * counts[least]:
            return
        yield (
            f"the classes are unbalanced: {counts[most]} training {splits.modality.many} of "
            f"{listed([splits.labels[most]])}, {counts[least]} of {listed([splits.labels[least]])}. "
            "Compare balanced_accuracy and macro_f1, not accuracy. Try: class_weights: :balanced"
        )

    def precision_of(self, measured: int) -> str:
        """Points of accuracy per example."""
        return f", each of them is {100 / measured:.0f} points of accuracy"

    def fit(self, labels: Sequence[str], train: Dataset) -> ClassificationState:
        """Count the classes."""
        return ClassificationState(label_counts=tuple(self.counts(train.targets, labels).tolist()))

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """Messages about unknown classes."""
        yield from unknown_names(class_weights, labels, self.noun, self.nouns)

    def weights(
        self,
        dataset: Dataset,
        labels: Sequence[str],
        state: ClassificationState,
        class_weights: Mapping[str, float] | str | None,
    ) -> Array:
        """Weights (N,): of the class by name, or balanced, N / (C count)."""
        if class_weights in (None, "none"):
            return np.ones(len(dataset), np.float32)
        if isinstance(class_weights, Mapping):
            of_class = by_name(class_weights, labels)
        else:
            of_class = balanced_weights(state.label_counts, sum(state.label_counts), len(labels))
        return of_class[dataset.targets]

    def decode(self, outputs: Array, state: ClassificationState) -> Array:
        """Probabilities; each row sums to 1."""
        return softmax(outputs.astype(np.float64) / state.temperature)

    def prediction(
        self, values: list[float], labels: Sequence[str], state: ClassificationState, level: float | None
    ) -> dict[str, Any]:
        """`label`, `score` and `scores`, the highest first; with a level `set`, in the same order."""
        scores = dict(sorted(zip(labels, values, strict=True), key=lambda pair: -pair[1]))
        label, score = next(iter(scores.items()))
        found: dict[str, Any] = {"label": label, "score": score, "scores": scores}
        if level is not None:
            within = in_set(np.array([list(scores.values())]), quantile(state.nonconformity, level))[0]
            found["set"] = [name for name, is_in in zip(scores, within, strict=True) if is_in]
        return found

    def metrics(
        self, values: Array, targets: Array, labels: Sequence[str], state: ClassificationState, seed: int
    ) -> dict[str, Any]:
        """See `classification_metrics`; and coverage and size of prediction sets at 0.9."""
        # The baseline predicts the most frequent training class.
        trained = [int(np.argmax(state.label_counts or (0,)))]
        found = classification_metrics(values, targets, labels, trained, seed)
        sets = set_metrics(values, targets, self.conformal_scores(state), seed)
        return {**found, "conformal": sets} if sets else found

    def example_scores(
        self, values: Array, targets: Array, labels: Sequence[str], state: ClassificationState
    ) -> ExampleScores:
        """1 where the class is right."""
        return ExampleScores("accuracy", (values.argmax(axis=1) == targets).astype(np.float64))

    def calibrate(self, state: ClassificationState, outputs: Array, targets: Array) -> ClassificationState:
        """Temperature scaling, and nonconformity scores."""
        state = replace(state, temperature=fit_temperature(outputs, targets))
        some = calibration_rows(len(outputs))
        scores = class_scores(self.decode(outputs[some], state), targets[some])
        return replace(state, nonconformity=tuple(scores))

    def shift_warnings(self, calibration: Array, splits: DataSplits, seed: int) -> Iterator[str]:
        """Differences between the shares of classes."""
        yield from balance_warnings(calibration, splits.test.targets, splits.labels, seed)

    def text_baseline(self, train: Dataset, test: Dataset) -> dict[str, float]:
        """TF-IDF with logistic regression."""
        return tfidf_metrics(train.inputs, train.targets, test.inputs, test.targets)

    def conformal_scores(self, state: ClassificationState) -> Sequence[Sequence[float]]:
        """Scores of the true class."""
        return (state.nonconformity,) if state.nonconformity else ()


def _class_name(example: Example) -> str:
    label = plain(example.label)
    if isinstance(label, list | tuple):
        raise DataError(
            f"{printable(example.name)}: a list as label, but classification takes one label each "
            "(for several say task: :multi_label, for numbers task: :regression)"
        )
    check_present(example, label)
    if not isinstance(label, str | int | float):
        kind = type(label).__name__
        raise DataError(f"{printable(example.name)}: a label is text or a number, got {kind}")
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return clean_name(str(label), example.name)
