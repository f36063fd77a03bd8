"""Object detection: boxes around objects, each with a class and a score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transfer_core.data import Dataset, DataSplits
from transfer_core.data.box_checks import check_examples
from transfer_core.data.boxes import BoxLabel, as_rows
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.recipe.schema import Columns, Probability
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.box_targets import (
    box_warnings,
    boxes_per_class,
    encode_boxes,
    has_class,
    typical_boxes,
)
from transfer_core.tasks.named_labels import counts_problem
from transfer_core.tasks.task import Amount, Recognition, Size, State, Task, Value


class DetectionState(State, frozen=True, kw_only=True, tag="detection"):
    """Statistics of the training boxes, and calibration.

    `label_counts` are training boxes per class; `typical` the mean box of each class as shares of the photo
    (centre x, centre y, width, height), which the baseline predicts. A score s is calibrated to
    sigmoid(`slope` * logit(s) + `offset`); a box is predicted if its calibrated score is at least the
    threshold of its class. `nonconformity` has sorted margins of held-out objects (see `metrics.margins`).
    """

    label_counts: tuple[Amount, ...] = ()
    typical: tuple[tuple[Value, Value, Value, Value], ...] = ()
    slope: Size = 1.0
    offset: Value = 0.0
    thresholds: tuple[Probability, ...] = ()
    nonconformity: tuple[Size, ...] = ()

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """See `State`."""
        for field in ("label_counts", "typical", "thresholds"):
            yield from counts_problem(field, getattr(self, field), labels)
        if list(self.nonconformity) != sorted(self.nonconformity):
            yield "nonconformity: expected sorted numbers"


class Detection(Task[DetectionState]):
    """See `Task`."""

    name = "detection"
    noun, nouns = "class", "classes"
    categorical = True
    needs = "feature_maps"
    loss = "detection"
    state_type = DetectionState

    def recognize(self, labels: Sequence[Any]) -> Recognition | None:
        """Boxes."""
        return Recognition() if isinstance(labels[0], BoxLabel) else None

    def checked(
        self, examples: Sequence[Example], on_bad_input: Literal["raise", "skip"], progress: Progress
    ) -> Sequence[Example]:
        """Check the boxes against their photos, and convert them to pixels."""
        return check_examples(examples, on_bad_input, progress)

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """The sorted class names, and the `Boxes` of each example, an object array (N,)."""
        return encode_boxes(examples, labels)

    def strata(self, targets: Targets) -> Strata:
        """The classes in each photo."""
        return has_class(
            targets, 1 + max((int(boxes.classes.max(initial=0)) for boxes in targets), default=0)
        )

    def counts(self, targets: Targets, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Photos with each class."""
        counts: npt.NDArray[np.int64] = has_class(targets, len(labels)).sum(axis=0)
        return counts

    def indices(self, target: Any) -> Sequence[int]:
        """The classes in a photo."""
        indices: list[int] = np.unique(target.objects.classes).tolist()
        return indices

    def describe(self, target: Any, labels: Sequence[str]) -> list[dict[str, Any]]:
        """The boxes."""
        return as_rows(target, labels)

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """There must be boxes of each class."""
        if not labels or not boxes_per_class(targets, len(labels)).any():
            return f"no {part}box in {len(targets)} {inputs}; a detector needs labelled boxes"
        return None

    def data_warnings(self, splits: DataSplits, weighted: bool) -> Iterator[str]:
        """Classes with few boxes."""
        yield from box_warnings(splits)

    def fit(self, labels: Sequence[str], train: Dataset) -> DetectionState:
        """Boxes per class, and the mean box of each."""
        counts = boxes_per_class(train.targets, len(labels)).tolist()
        typical = tuple((x, y, w, h) for x, y, w, h in typical_boxes(train.targets, len(labels)).tolist())
        return DetectionState(label_counts=tuple(counts), typical=typical)

    def conformal_scores(self, state: DetectionState) -> Sequence[Sequence[float]]:
        """Margins of held-out objects."""
        return (state.nonconformity,) if state.nonconformity else ()
