"""Steps 2 to 5 and evaluation for object detection; implements `steps.Steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from transfer_core.data import Dataset, DataSplits, emit_data_warnings, left_over, naming_all
from transfer_core.data.bad_input import left_out
from transfer_core.data.boxes import Detections
from transfer_core.data.fingerprint import check_unchanged
from transfer_core.features import FeatureStore
from transfer_core.features.box_views import BoxView, Photo, random_view, unchanged_view
from transfer_core.features.check import undecodable
from transfer_core.features.features import RANDOM_VIEWS
from transfer_core.features.map_rows import Reading, RowsOfViews
from transfer_core.features.thumbnails import Seen
from transfer_core.finetune.detector_phase import (
    DetectorTraining,
    ViewedExamples,
    train_phase,
    trained_part,
)
from transfer_core.heads.detection.build import build_detector
from transfer_core.heads.detection.detector import Detector
from transfer_core.metrics.average_precision import coco_metrics
from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.model.detection_predictor import DetectionPredictor
from transfer_core.model.loading import save_new
from transfer_core.model.model import Model
from transfer_core.model.reporting import write_run_report
from transfer_core.model_file.format import tensors_digest
from transfer_core.pipeline.artifacts import Chosen, Trained
from transfer_core.pipeline.header import header_of
from transfer_core.pipeline.near_duplicates import apart
from transfer_core.recipe.heads import DetectionHead
from transfer_core.runs.backbone_changes import changed_by, restore_backbone
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runtime.allocator import releasing_memory
from transfer_core.runtime.overall_progress import ExpectedPhase
from transfer_core.runtime.progress import Progress, Step
from transfer_core.runtime.run_log import RunLog
from transfer_core.tasks.detection import Detection, DetectionState

# In forward passes of one input: reading and loading; one input of an epoch of the head, and of blocks.
_CHOOSE, _HEAD_EPOCH, _BACKWARD = 100.0, 0.5, 3.0


@dataclass(frozen=True)
class FrozenViews(Chosen):
    """Output of step 2: views of the training and validation images, whose feature maps are known."""

    state: DetectionState
    training: DetectorTraining

    @property
    def task(self) -> Detection:
        """The task of the plan."""
        assert isinstance(self.plan.task, Detection)
        return self.plan.task


def expected_work(chosen: Chosen) -> list[ExpectedPhase]:
    """See `Steps`."""
    splits, plan = chosen.splits, chosen.plan
    train, valid, test = len(splits.train), len(splits.valid), len(splits.test)
    views = _views_per_example(chosen)
    phases = [
        ExpectedPhase("choose", _CHOOSE),
        ExpectedPhase("freeze", train * views + valid),
        ExpectedPhase("head", 0.0),
    ]
    step: Step
    for phase in plan.phases:
        epochs = phase.train.epochs or 1
        work = _BACKWARD if phase.changes_backbone else _HEAD_EPOCH
        step = "fine_tune" if phase.changes_backbone else "train"
        phases.append(ExpectedPhase(step, epochs * (work * train + valid * work / 3), epochs))
    return [*phases, ExpectedPhase("evaluate", valid + test)]


def freeze(chosen: Chosen, progress: Progress) -> FrozenViews:
    """Step 2: the feature maps of all views of the training and validation images."""
    recipe, splits = chosen.plan.recipe, chosen.splits
    skips = recipe.on_bad_input == "skip"
    bad: dict[str, str] = {}
    seen: Seen | None = {} if recipe.split.near_duplicates else None
    parts = (splits.train, splits.valid, splits.test)
    every = splits.train.joined(splits.valid, splits.test)
    rows = RowsOfViews(FeatureStore(), partial(_check_files, every.stamps), progress)
    with naming_all(parts, splits.modality, progress):
        training = _computed(chosen, rows, Reading(seen, bad if skips else None))
        if bad:
            progress.warning(left_out(bad))
        # Test images are only decoded, so that damaged ones are reported before the training.
        bad |= undecodable(splits.test, chosen.backbone, recipe.on_bad_input, progress, seen)
    if bad:
        chosen = replace(chosen, splits=left_over(splits, bad))
    if seen is not None and chosen.splits.pool:
        chosen = replace(chosen, splits=apart(chosen, seen, progress))
    if chosen.splits is not splits:
        training = _computed(chosen, rows, None)
    emit_data_warnings(chosen.splits, recipe, progress)
    task = chosen.plan.task
    assert isinstance(task, Detection)
    state = task.fit(chosen.splits.labels, chosen.splits.train)
    return FrozenViews(chosen.plan, chosen.backbone, chosen.splits, chosen.machine, state, training)


def add_head_and_train(
    frozen: FrozenViews, checkpoints: RunCheckpoints, progress: Progress
) -> tuple[FrozenViews, list[dict[str, Any]]]:
    """Steps 3 and 4: a new detector, trained on the feature maps; returns its history."""
    plan, classes = frozen.plan, len(frozen.splits.labels)
    head, phase = plan.recipe.head, plan.head_phase
    assert head is not None
    progress.stage("head", f"add a {head.__struct_config__.tag} head with {classes} classes")
    if checkpoints.phase > 0:  # the checkpoint of a later phase has its weights
        return frozen, list(checkpoints.history)
    progress.stage("train", f"train the head with {phase.train.optimizer}")
    entries = train_phase(frozen.training, phase, 0, checkpoints.for_phase(0, phase, []))
    return frozen, [{"step": "train", **entry} for entry in entries]


def fine_tune(
    frozen: FrozenViews, head: list[dict[str, Any]], checkpoints: RunCheckpoints, progress: Progress
) -> Trained:
    """Step 5: train the further phases of the plan, if there are any."""
    training, further = frozen.training, frozen.plan.further_phases
    backbone, history = frozen.backbone.module(), head
    published = tensors_digest(backbone.state_dict())
    if checkpoints.phase > 0:
        restore_backbone(backbone, checkpoints.changed)
    for number, phase in list(enumerate(further, start=1))[max(0, checkpoints.phase - 1) :]:
        _note_weights(frozen, published)
        changed = partial(changed_by, further[: number - 1], backbone, phase)
        checkpointer = checkpoints.for_phase(number, phase, history, changed)
        step: Step = "fine_tune" if phase.changes_backbone else "train"
        what = phase.title(len(backbone.blocks)) if phase.changes_backbone else "the head further"
        progress.stage(step, f"{'fine-tune' if phase.changes_backbone else 'train'} {what}")
        entries = train_phase(training, phase, number, checkpointer)
        history = history + [{"step": step, **entry} for entry in entries]
    _note_weights(frozen, published)
    changed_backbone = tensors_digest(backbone.state_dict()) != published
    return Trained(training.detector, changed_backbone, history, len(frozen.splits.valid), False)


def evaluate(frozen: FrozenViews, tuned: Trained, path: Path, log: RunLog, progress: Progress) -> Model:
    """Calibrate scores and thresholds, evaluate on the test images, and save the model at `path`."""
    splits, task, state = frozen.splits, frozen.task, frozen.state
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} images")
    assert isinstance(tuned.head, Detector)
    tuned.head.eval().requires_grad_(False)
    draft = Model(Path(), header_of(frozen, state, tuned), frozen.backbone, tuned.head)
    predictor = draft.predictor
    assert isinstance(predictor, DetectionPredictor)
    if len(splits.valid):
        _, found = predictor.detect(splits.valid, "raise", progress)
        state = task.calibrate(state, found, splits.valid.targets)
    header, metrics = header_of(frozen, state, tuned), {}
    if len(splits.test):
        draft = Model(Path(), header, frozen.backbone, tuned.head)
        metrics = draft.predictor.evaluate(splits.test, "raise", progress)
    else:
        progress.warning("nothing was held out, so the model was not measured")
    for warning in baseline_warnings(metrics) if metrics else ():
        progress.warning(warning)
    noted = {"warnings": tuple(log.warnings), "seconds": log.seconds()}
    header = msgspec.structs.replace(header, metrics=metrics, **noted)
    model = save_new(path, header, frozen.backbone, tuned.head)
    write_run_report(model, splits.test, None, progress)
    return model


def _computed(chosen: Chosen, rows: RowsOfViews, reading: Reading | None) -> DetectorTraining:
    """The training of a new detector, with all rows computed."""
    recipe, splits = chosen.plan.recipe, chosen.splits
    train, valid = _views(chosen)
    training = DetectorTraining(
        backbone=chosen.backbone.module(),
        detector=_new_detector(chosen),
        image_size=_image_size(chosen),
        train=train,
        valid=valid,
        rows=rows,
        precision=partial(_average_precision, splits),
        machine=chosen.machine,
        seed=recipe.seed,
        progress=rows.progress,
    )
    views = train.views + valid.views
    rows.progress.stage("freeze", f"freeze it: compute the feature maps of {len(views)} views once")
    with releasing_memory():
        _, part = trained_part(training, None)
        rows.rows(part, views, "freeze", reading)
    return training


def different_views(chosen: Chosen) -> list[BoxView]:
    """All views of the training and validation images whose feature maps are computed."""
    return list({view.key: view for part in _views(chosen) for view in part.views}.values())


def _views(chosen: Chosen) -> tuple[ViewedExamples, ViewedExamples]:
    valid = (unchanged_view(photo, _image_size(chosen)) for photo in _photos(chosen.splits.valid))
    return _viewed(_photos(chosen.splits.train), chosen), ViewedExamples(tuple(valid))


def _photos(dataset: Dataset) -> list[Photo]:
    return [Photo(*row) for row in zip(dataset.inputs, dataset.digests, dataset.targets, strict=True)]


def _viewed(photos: list[Photo], chosen: Chosen) -> ViewedExamples:
    """The unchanged view of each image and its random ones."""
    recipe, size = chosen.plan.recipe, _image_size(chosen)
    views = []
    for number, photo in enumerate(photos):
        views.append(unchanged_view(photo, size))
        for view in range(1, _views_per_example(chosen)):
            rng = np.random.default_rng([recipe.seed, view, int(photo.digest[:16], 16)])
            others = [photos[i] for i in rng.integers(len(photos), size=3)] if len(photos) > 1 else []
            views.append(random_view(photos[number], others, recipe.augment or (), size, rng))
    return ViewedExamples(tuple(views), _views_per_example(chosen))


def _views_per_example(chosen: Chosen) -> int:
    return 1 + RANDOM_VIEWS if chosen.plan.recipe.augment else 1


def _image_size(chosen: Chosen) -> int:
    size = chosen.plan.recipe.image_size
    assert size is not None
    return size


def _new_detector(chosen: Chosen) -> Detector:
    recipe = chosen.plan.recipe
    assert isinstance(recipe.head, DetectionHead)
    maps, classes = chosen.backbone.facts.feature_maps, len(chosen.splits.labels)
    return build_detector(recipe.head, maps, _image_size(chosen), classes, recipe.seed)


def _check_files(stamps: Mapping[str, str], view: BoxView) -> None:
    """Raise `DataError` if a file of the view has changed since its digest was taken."""
    for photo in view.photos:
        if stamp := stamps.get(photo.path):
            check_unchanged(photo.path, stamp, photo.digest)


def _average_precision(splits: DataSplits, found: list[Detections]) -> float:
    metrics = coco_metrics(found, list(splits.valid.targets), len(splits.labels))
    return metrics.mean_precision() or 0.0


def _note_weights(frozen: FrozenViews, published: str) -> None:
    """Identify the backbone by its tensors once they differ from the published ones."""
    backbone = frozen.backbone.module()
    now = tensors_digest(backbone.state_dict())
    if now != published:
        backbone.weights_digest = now
        frozen.training.rows.store = None
