"""Train a detector on rows of feature maps, with the blocks of the backbone that a phase trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from transfer_core.backbones import Backbone
from transfer_core.data.boxes import Detections
from transfer_core.features.box_views import BoxView
from transfer_core.features.frozen_maps import FrozenMaps
from transfer_core.features.map_rows import MapRows, RowsOfViews
from transfer_core.features.parallel import map_on_cores
from transfer_core.finetune.detector_network import DetectorTail
from transfer_core.finetune.network import frozen_in_front
from transfer_core.finetune.phase import groups_by_depth
from transfer_core.heads.detection.build import maps_used
from transfer_core.heads.detection.detections import detections
from transfer_core.heads.detection.detector import Detector, Grids, Target, pack, unpack
from transfer_core.plan.phases import Phase
from transfer_core.runtime.devices import Machine, choose_dtype
from transfer_core.runtime.progress import Progress, Step
from transfer_core.training.batch import Batch, BatchSource, Metrics
from transfer_core.training.checkpointer import Checkpointer
from transfer_core.training.execution import Execution, open_execution
from transfer_core.training.loop import train_epochs

# The average precision of detections in the validation photos.
Precision: TypeAlias = Callable[[Sequence[Detections]], float]

_FITTED_ON = 64  # rows that determine mean and scale of the maps


@dataclass(frozen=True)
class ViewedExamples:
    """N examples as views: `per_example` of each in succession, the unchanged one first."""

    views: tuple[BoxView, ...]
    per_example: int = 1

    def __len__(self) -> int:
        return len(self.views) // self.per_example


@dataclass(frozen=True)
class DetectorTraining:
    """What all phases of a training share.

    Attributes
    ----------
    backbone, detector
        Trained in place.
    image_size
        Side of the inputs in pixels.
    train, valid
        Views of the examples; `valid` may be empty.
    rows
        The rows of views.
    precision
        Computes the average precision on the validation examples, which selects the epoch.
    machine, seed, progress
        Where it runs, the seed of the order of examples, progress events and cancellation.
    """

    backbone: Backbone
    detector: Detector
    image_size: int
    train: ViewedExamples
    valid: ViewedExamples
    rows: RowsOfViews
    precision: Precision
    machine: Machine
    seed: int
    progress: Progress


def train_phase(
    training: DetectorTraining, phase: Phase, number: int, checkpointer: Checkpointer
) -> list[Metrics]:
    """Train the detector and the blocks of `phase`; the epoch with the highest average precision is kept.

    Parameters
    ----------
    training
        Network and data.
    phase
        A completed `train` step.
    number
        Number of the phase; 0 trains a new head.
    checkpointer
        See `train_epochs`.

    Returns
    -------
    list of Metrics
        One entry per epoch: `loss`, and with validation examples `validation_loss` and `validation_ap`.
    """
    train, progress, backbone = phase.train, training.progress, training.backbone
    step: Step = "fine_tune" if phase.changes_backbone else "train"
    size = train.batch_size or 8
    backbone.requires_grad_(False)
    tail, part = trained_part(training, phase)
    rows = training.rows.rows(part, training.train.views, step)
    if number == 0:
        _standardize(tail, rows, len(training.train), training.train.per_example)
    grids = grids_of(tail, rows)
    targets = _targets(training.detector, training.train.views, grids)
    loss = partial(_loss, training.detector, grids)
    seed = training.seed + number
    source = BatchSource(
        partial(_epoch, training, rows, targets, size, seed), steps=-(-len(training.train) // size)
    )
    dtype = choose_dtype(training.machine.precision, training.machine.device)
    with open_execution(tail, torch.device(training.machine.device), dtype, size, progress) as execution:
        validate = None
        if len(training.valid):
            validate = validation(training, execution, part, grids, size, step)
        history = train_epochs(
            execution,
            source,
            loss,
            validate,
            train,
            step,
            seed,
            progress,
            checkpointer,
            groups_by_depth(backbone, training.detector, train.layer_decay or 1.0),
            "validation_ap",
        )
    tail.requires_grad_(False)
    return history


def trained_part(training: DetectorTraining, phase: Phase | None) -> tuple[DetectorTail, FrozenMaps]:
    """The part of the network that `phase` trains, and the frozen part before it; None: only the detector."""
    backbone, machine = training.backbone, training.machine
    trainable = phase.trainable if phase else ()
    begin = frozen_in_front(backbone, trainable)
    maps = maps_used(backbone.facts.feature_maps)
    size = training.image_size
    part = FrozenMaps(backbone, maps, begin, size, machine.device, machine.precision)
    check = training.progress.check
    return DetectorTail(backbone, training.detector, maps, trainable, begin, part.layout, check), part


@torch.no_grad()
def grids_of(tail: DetectorTail, rows: MapRows) -> Grids:
    """Height and width of the feature maps."""
    return tuple((x.shape[2], x.shape[3]) for x in tail.maps(rows.read(torch.tensor([0]))))


def validation(
    training: DetectorTraining, execution: Execution, part: FrozenMaps, grids: Grids, size: int, step: Step
) -> Callable[[], Metrics]:
    """A function that returns `validation_loss` and `validation_ap` of the network as it is."""
    detector, device = training.detector, training.machine.device
    rows = training.rows.rows(part, training.valid.views, step)
    targets = _targets(detector, training.valid.views, grids)

    def validate() -> Metrics:
        total = weight = 0.0
        found: list[Detections] = []
        for numbers in torch.split(torch.arange(len(training.valid)), size):
            outputs = execution.outputs(rows.read(numbers)).to(device)
            some = [targets[i] for i in numbers.tolist()]
            total += _validation_loss(detector, outputs, some, grids)
            weight += sum(map(detector.weight, some))
            views = [training.valid.views[i] for i in numbers.tolist()]
            placements = [view.placements[0] for view in views]
            sizes = [view.photos[0].boxes.size for view in views]
            found += detections(detector, outputs, grids, placements, sizes)
        return {"validation_loss": total / weight, "validation_ap": training.precision(found)}

    return validate


@torch.no_grad()
def _validation_loss(detector: Detector, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> float:
    """The loss of validation inputs; samples of boxes are the same at each call."""
    detector.train()  # in eval mode, two-stage detectors have no loss
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = float(detector.loss(outputs, unpack(pack(targets).to(outputs.device)), grids))
    detector.eval()
    return loss


@torch.no_grad()
def _standardize(tail: DetectorTail, rows: MapRows, examples: int, per_example: int) -> None:
    """Fit mean and scale of the maps on evenly spaced unchanged views."""
    count = min(examples, _FITTED_ON)
    numbers = torch.arange(count) * examples // count * per_example
    tail.detector.fit(tail.maps(rows.read(numbers)))


def _targets(detector: Detector, views: Sequence[BoxView], grids: Grids) -> list[Target]:
    def match(view: BoxView) -> Target:
        corners, classes = view.objects()
        return detector.match(grids, torch.from_numpy(corners).float(), torch.from_numpy(classes))

    return list(map_on_cores(match, views))


def _loss(detector: Detector, grids: Grids, outputs: Tensor, packed: Tensor, weights: Tensor) -> Tensor:
    """Sum of weighted losses; the weights are part of it."""
    return detector.loss(outputs, unpack(packed), grids)


def _epoch(
    training: DetectorTraining, rows: MapRows, targets: Sequence[Target], size: int, seed: int, number: int
) -> Iterator[Batch]:
    """Batches with one view of every example, in a new order; the views of an example take turns."""
    count, per_example = len(training.train), training.train.per_example
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + number))
    numbers = order * per_example + (order + number - 1) % per_example

    def batch(some: Tensor) -> Batch:
        chosen = [targets[i] for i in some.tolist()]
        weights = torch.tensor([training.detector.weight(target) for target in chosen])
        return Batch(rows.read(some), pack(chosen), weights)

    return map_on_cores(batch, torch.split(numbers, size))
