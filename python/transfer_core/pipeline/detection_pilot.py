"""Pilot of a training for object detection; implements `steps.Pilot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from transfer_core.data.boxes import Boxes
from transfer_core.features import FeatureStore
from transfer_core.features.box_views import BoxView
from transfer_core.features.check import undecodable
from transfer_core.features.frozen_maps import FrozenMaps
from transfer_core.features.map_rows import RowsOfViews, is_stored
from transfer_core.finetune.detector_phase import trained_part
from transfer_core.model.detection_predictor import DetectionPredictor
from transfer_core.pipeline import detection_steps
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.detection_steps import FrozenViews
from transfer_core.pipeline.pilot import (
    CHECKPOINT,
    ROW,
    StepEstimate,
    Stopwatch,
    expected,
    fewer,
    in_proportion,
    seconds_of,
    shortened,
)
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.folder import RunFolder
from transfer_core.runtime.progress import Progress, Step
from transfer_core.runtime.run_log import RunLog

# Training images of the pilot, or a batch if that has more; views whose feature maps are timed.
_PILOT, _TIMED = 16, 32
_AT_ONCE = 64


def measure(chosen: Chosen, folder: Path, watch: Stopwatch, progress: Progress) -> tuple[StepEstimate, ...]:
    """See `Pilot`."""
    quiet, plan, splits = Progress(cancelled=progress.cancelled), chosen.plan, chosen.splits
    most = max(_PILOT, *(phase.train.batch_size or 0 for phase in plan.phases))
    pilot = fewer(chosen, in_proportion(splits, most), _first_class, list(map(shortened, plan.phases)))
    every = sum(map(len, (splits.train, splits.valid, splits.test)))
    progress.stage("freeze", f"time {len(pilot.splits.train)} of {every} {splits.modality.many}")
    frozen = detection_steps.freeze(pilot, quiet)
    computing = watch.lap()
    views, few = (detection_steps.different_views(one) for one in (chosen, pilot))
    per_view = _map_rate(frozen, few, quiet)
    test = pilot.splits.test
    decoding = seconds_of(lambda: undecodable(test, pilot.backbone, "raise", quiet, None)) / max(1, len(test))
    _, part = trained_part(frozen.training, None)
    missing = _missing(part, views)
    row = part.layout.width * part.dtype.itemsize
    maps = len(views) * row + (missing * (row + ROW) if is_stored(part, len(views)) else 0)
    freezing = watch.lap()
    progress.stage("train", "time an epoch")
    checkpoints = RunCheckpoints(RunFolder(folder), [], quiet)
    watching = watch.watching(quiet)
    frozen = _watched(frozen, watching)
    frozen, head = detection_steps.add_head_and_train(frozen, checkpoints, watching)
    training = watch.lap()
    tuned_maps = _tuned_maps(frozen, views)
    changes = plan.changes_backbone
    progress.stage("fine_tune", "time an epoch" if changes else "no blocks are trained")
    tuned = detection_steps.fine_tune(frozen, head, checkpoints, watching)
    tuning = watch.lap()
    file = folder / "model.transfer"
    predictor = detection_steps.evaluate(frozen, tuned, file, RunLog(), quiet).predictor
    evaluating, model_bytes = watch.lap(), file.stat().st_size
    assert isinstance(predictor, DetectionPredictor)
    per_photo = seconds_of(lambda: predictor.detect(test, "raise", quiet)) / max(1, len(test))
    measured = (len(one.splits.valid) + len(one.splits.test) for one in (chosen, pilot))
    further = next(measured) - next(measured)
    start = max(0.0, computing.seconds - per_view * len(few))
    freeze_s = decoding * len(splits.test) + (start + per_view * missing if missing else 0.0)
    seconds = _training_seconds(chosen, frozen, watch, (len(views), len(few)), per_view)
    checkpoint = CHECKPOINT * model_bytes
    return (
        StepEstimate("freeze", freeze_s, max(computing.memory, freezing.memory), maps),
        StepEstimate("head", 0.0, freezing.memory, 0),
        StepEstimate("train", seconds["train"], training.memory, 0 if changes else checkpoint),
        StepEstimate(
            "fine_tune", seconds["fine_tune"], tuning.memory, tuned_maps + checkpoint if changes else 0
        ),
        StepEstimate("evaluate", evaluating.seconds + per_photo * further, evaluating.memory, model_bytes),
    )


def _first_class(target: Boxes) -> int:
    return int(target.classes[0]) if len(target) else -1


def _watched(frozen: FrozenViews, progress: Progress) -> FrozenViews:
    return replace(frozen, training=replace(frozen.training, progress=progress))


def _map_rate(frozen: FrozenViews, views: Sequence[BoxView], progress: Progress) -> float:
    """Seconds per view of decoding and of the frozen part of the network."""
    _, part = trained_part(frozen.training, None)
    some = [views[i] for i in np.linspace(0, len(views) - 1, min(_TIMED, len(views))).astype(int)]
    rows = RowsOfViews(None, lambda _: None, progress)
    return seconds_of(lambda: rows.rows(part, some, "freeze")) / len(some)


def _missing(part: FrozenMaps, views: Sequence[BoxView]) -> int:
    """Number of views whose rows are not cached."""
    if not is_stored(part, len(views)):
        return len(views)
    store, cached = FeatureStore(), 0
    for start in range(0, len(views), _AT_ONCE):
        keys = [view.key for view in views[start : start + _AT_ONCE]]
        into = np.empty((len(keys), part.layout.width), part.dtype)
        cached += int(store.read(part.fingerprint, keys, into).sum())
    return len(views) - cached


def _tuned_maps(frozen: FrozenViews, views: Sequence[BoxView]) -> int:
    """Bytes of the inputs of the blocks that train, in every phase; those of the first one are stored too."""
    total = 0
    for number, phase in enumerate(phase for phase in frozen.plan.phases if phase.changes_backbone):
        _, part = trained_part(frozen.training, phase)
        row = part.layout.width * part.dtype.itemsize
        total += len(views) * row
        if number == 0 and is_stored(part, len(views)):
            total += _missing(part, views) * (row + ROW)
    return total


def _training_seconds(
    chosen: Chosen, frozen: FrozenViews, watch: Stopwatch, views: tuple[int, int], per_view: float
) -> dict[str, float]:
    """Seconds of the phases of each step; phases after the first compute the rows of all views anew."""
    steps: tuple[Step, Step] = ("train", "fine_tune")
    works = expected(detection_steps.expected_work, chosen, frozen, *steps)
    total = {"train": 0.0, "fine_tune": 0.0}
    for number, (times, work) in enumerate(zip(watch.phases(*steps), works, strict=True)):
        total[times.step] += times.seconds(*work, views if number else (0, 0), per_view)
    return total
