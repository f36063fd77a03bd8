"""Object detection: boxes around objects, each with a class and a score."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from msgspec import structs

from transfer_core.data import Dataset, DataSplits
from transfer_core.data.box_checks import check_examples
from transfer_core.data.boxes import BoxLabel, Detections, as_rows, clipped
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.metrics.box_calibration import (
    calibrated,
    fit_scores,
    fit_thresholds,
    grown,
    held_out,
    margin_metrics,
    margins,
)
from transfer_core.metrics.conformal import calibration_rows
from transfer_core.metrics.detection import detection_metrics
from transfer_core.metrics.thresholds import DEFAULT_THRESHOLD
from transfer_core.recipe.fields import Probability
from transfer_core.recipe.heads import DetectionHead, FcosHead
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.box_targets import (
    box_warnings,
    boxes_per_class,
    encode_boxes,
    has_class,
    typical_boxes,
)
from transfer_core.tasks.coverage import quantile
from transfer_core.tasks.named_labels import counts_problem
from transfer_core.tasks.task import Amount, Recognition, Size, State, Task, Value


class DetectionState(State, frozen=True, kw_only=True, tag="detection"):
    """Statistics of the training boxes, and calibration.

    `label_counts` are training boxes per class; `typical` the mean box of each class as shares of the photo
    (centre x, centre y, width, height), which the baseline predicts. A score s is calibrated to
    sigmoid(`slope` * logit(s) + `offset`); a box is predicted if its calibrated score is at least the
    threshold of its class. `nonconformity` has sorted margins of held-out objects, see
    `metrics.box_calibration.margins`.
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
    heads = get_args(DetectionHead)
    default_head = FcosHead()
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

    def calibrate(
        self, state: DetectionState, detections: Sequence[Detections], truth: Targets
    ) -> DetectionState:
        """Calibrate on held-out images: scores, thresholds per class, and margins around boxes.

        Parameters
        ----------
        state
            The result of `fit`.
        detections
            What the network finds in M ≥ 1 held-out images, with its own scores.
        truth
            (M,) `Boxes`.
        """
        classes = len(state.label_counts)
        found = held_out(detections, list(truth), classes)
        slope, offset = fit_scores(found.scores, found.right)
        found = replace(found, scores=calibrated(found.scores, slope, offset))
        some = calibration_rows(len(found.corners))
        return structs.replace(
            state,
            slope=slope,
            offset=offset,
            thresholds=tuple(fit_thresholds(found)),
            nonconformity=tuple(margins(found.corners[some], found.true_corners[some])),
        )

    def calibrated(self, found: Detections, state: DetectionState) -> Detections:
        """The same detections with calibrated scores, still sorted."""
        return replace(found, scores=calibrated(found.scores, state.slope, state.offset))

    def prediction(
        self,
        found: Detections,
        size: tuple[int, int],
        labels: Sequence[str],
        state: DetectionState,
        level: float | None,
    ) -> dict[str, Any]:
        """The boxes of one photo as plain data (docs/reference/protocol.md).

        Parameters
        ----------
        found
            Calibrated detections in pixels of the upright photo.
        size
            Width and height of the upright photo.
        labels
            K names.
        state
            State of the task.
        level
            Coverage: each box gets `outer`, the margins within which the whole object lies with this
            probability, given that it was detected.
        """
        chosen = found.take(found.scores >= self.thresholds(state, labels)[found.classes])
        inside = clipped(chosen, size)
        rows = as_rows(inside, labels)
        for row, score in zip(rows, inside.scores.tolist(), strict=True):
            row["score"] = score
        if level is not None:
            margin = quantile(state.nonconformity, level)
            outer = clipped(replace(inside, corners=grown(inside.corners, margin)), size)
            for row, around in zip(rows, as_rows(outer, labels), strict=True):
                row["outer"] = {side: around[side] for side in ("x", "y", "width", "height")}
        return {"boxes": rows, "width": size[0], "height": size[1]}

    def metrics(
        self,
        detections: Sequence[Detections],
        truth: Targets,
        labels: Sequence[str],
        state: DetectionState,
        seed: int,
        names: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """See `detection_metrics`; detections have calibrated scores. And coverage of margins at 0.9."""
        counts = np.array(state.label_counts or (0,) * len(labels))
        shares = counts / max(1, counts.sum())
        typical = state.typical or ((0.5, 0.5, 1.0, 1.0),) * len(labels)
        thresholds = self.thresholds(state, labels)
        names = None if names is None else _relative(names)
        found = detection_metrics(detections, list(truth), labels, thresholds, typical, shares, seed, names)
        matched = held_out(detections, list(truth), len(labels))
        covered = margin_metrics(matched.corners, matched.true_corners, state.nonconformity, seed)
        return {**found, "conformal": covered} if covered else found

    def thresholds(self, state: DetectionState, labels: Sequence[str]) -> npt.NDArray[np.float64]:
        """The threshold of each class, (K,); 0.5 before the calibration."""
        return np.array(state.thresholds or (DEFAULT_THRESHOLD,) * len(labels))

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """The losses of detectors balance objects and background themselves."""
        yield "detection has no class weights: leave it out"

    def conformal_scores(self, state: DetectionState) -> Sequence[Sequence[float]]:
        """Margins of held-out objects."""
        return (state.nonconformity,) if state.nonconformity else ()


def _relative(paths: Sequence[str]) -> list[str]:
    """Paths of images below the folder that all of them are in: a model file tells no place of a machine."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    return [os.path.relpath(path, os.path.commonpath(folders)) for path in paths]
