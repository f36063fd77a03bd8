"""Estimate time, memory and disk space of a training by a pilot: its own steps on a few of its examples.

The rate of the forward pass, the fit of the head and the second of two epochs of fine-tuning are measured on
this machine, and scaled to all examples and epochs. Embeddings that are cached take no time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from transfer_core.backbones.frozen import open_backbone
from transfer_core.data import Dataset, Row
from transfer_core.features import FeatureStore, Views, build_extractor
from transfer_core.features.fitted import must_be_fitted
from transfer_core.pipeline import pooled_steps
from transfer_core.pipeline.artifacts import Chosen, Frozen
from transfer_core.pipeline.embedding import embed
from transfer_core.pipeline.five_steps import choose
from transfer_core.recipe.schema import Recipe
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.folder import RunFolder
from transfer_core.runtime import paths
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.machine_memory import machine_memory
from transfer_core.runtime.progress import Event, Progress, Step
from transfer_core.runtime.run_log import RunLog
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import PooledTask

# Training examples of the pilot: two batches of most networks. Examples on which a head is fitted.
_PILOT, _HEAD = 48, 512
_EPOCHS = 2
# Bytes of a cached row beside its numbers, and of the thumbnail of an image.
_ROW, _THUMBNAIL = 200, 1100
# Copies of the embeddings while a head is fitted, and of the weights in a checkpoint with its optimizer.
_COPIES, _CHECKPOINT = 3, 3
_FLOAT = 4
_AT_ONCE = 4096


@dataclass(frozen=True)
class StepEstimate:
    """One step: `seconds`, peak `memory` of the process in bytes, and bytes on `disk` that it adds."""

    step: Step
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to take on this machine.

    Attributes
    ----------
    backbone, task
        Names.
    examples
        Number of all examples.
    steps
        Choose, freeze, head, train, fine_tune and evaluate; 0 seconds for a step without work.
    seconds
        Sum over the steps, with all epochs; early stopping may shorten it.
    memory, disk
        Peak memory of the process, and disk space that is kept or used meanwhile, in bytes.
    available_memory, free_disk
        What this machine has, in bytes.
    warnings
        If memory or disk space do not suffice.
    """

    backbone: str
    task: str
    examples: int
    steps: tuple[StepEstimate, ...]
    seconds: float
    memory: int
    disk: int
    available_memory: int
    free_disk: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self)


def estimate(recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress) -> Estimate:
    """Estimate the training of `recipe` by a pilot of seconds.

    Parameters
    ----------
    recipe
        Any recipe of one domain for a task on embeddings.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.

    Raises
    ------
    RecipeError
        At `backbone`, for a search, whose time is its budget; at `task` or `source`, if these can't be
        estimated.
    TransferError
        As a training does for errors of the recipe, the data or the weights.
    """
    _check(recipe)
    quiet = Progress(cancelled=progress.cancelled)
    with spool_folder() as spool, TemporaryDirectory(dir=spool) as folder:
        # What is done once per machine, such as a download, is no part of the training that follows.
        open_backbone(recipe.backbone, recipe.weights, progress, recipe.trust)
        watch = _Watch()
        chosen = choose(recipe, streams, spool, progress)
        choosing = watch.lap()
        task, many = chosen.plan.task, chosen.splits.modality.many
        if not isinstance(task, PooledTask):
            message = f"estimates are for tasks on embeddings, not for {task.name}"
            raise RecipeError([Problem("task", message)])
        pilot = _pilot(chosen)
        progress.stage("freeze", f"time {len(pilot.splits.train)} of {_size(chosen)} {many}")
        frozen = pooled_steps.freeze(pilot, quiet)
        first_s, per_input = _embedding_rate(frozen, quiet)
        missing = _missing(chosen, frozen)
        freezing = watch.lap()
        progress.stage("train", "time the head")
        checkpoints = RunCheckpoints(RunFolder(Path(folder)), [], quiet)
        head_s = _head_seconds(chosen, frozen, checkpoints, quiet)
        frozen, head = pooled_steps.add_head_and_train(frozen, checkpoints, quiet)
        training = watch.lap()
        changes = chosen.plan.changes_backbone
        progress.stage("fine_tune", "time an epoch" if changes else "no blocks are trained")
        tuned = pooled_steps.fine_tune(frozen, head, checkpoints, watch.progress(quiet))
        tuning = watch.lap()
        file = Path(folder) / "model.transfer"
        pooled_steps.evaluate(frozen, tuned, file, RunLog(), quiet)
        evaluating, model_bytes = watch.lap(), file.stat().st_size
    splits, width = chosen.splits, frozen.backbone.facts.embedding_width or frozen.train.shape[1]
    rows = len(splits.train) * frozen.views + len(splits.valid) + len(splits.test)
    arrays = rows * width * _FLOAT
    row = width * _FLOAT + _ROW + (_THUMBNAIL if splits.modality.name == "image" else 0)
    steps = (
        StepEstimate("choose", choosing.seconds, choosing.memory, 0),
        StepEstimate(
            "freeze",
            first_s + missing * per_input if missing else 0.0,
            freezing.memory + arrays,
            missing * row,
        ),
        StepEstimate("head", 0.0, freezing.memory + arrays, 0),
        StepEstimate("train", head_s, training.memory + _COPIES * arrays, 0),
        StepEstimate(
            "fine_tune",
            watch.fine_tuning(chosen, frozen, per_input) if changes else 0.0,
            tuning.memory + arrays,
            _CHECKPOINT * model_bytes if changes else 0,
        ),
        StepEstimate(
            "evaluate",
            evaluating.seconds + (len(splits.test) * per_input if changes else 0),
            evaluating.memory + arrays,
            model_bytes,
        ),
    )
    return _summed(chosen, steps)


def _check(recipe: Recipe) -> None:
    if recipe.backbone == "auto":
        message = "auto takes its budget. Fix: name a backbone to estimate"
        raise RecipeError([Problem("backbone", message)])
    if recipe.source is not None:
        raise RecipeError([Problem("source", "estimates are for trainings without a source domain")])


def _size(chosen: Chosen) -> int:
    splits = chosen.splits
    return len(splits.train) + len(splits.valid) + len(splits.test)


def _pilot(chosen: Chosen) -> Chosen:
    """The same training on a few examples, for a few epochs."""
    splits, recipe = chosen.splits, chosen.plan.recipe
    train = _spread(splits.train, _PILOT, recipe.seed)
    share = len(train) / len(splits.train)
    others = (splits.valid, splits.test)
    valid, test = (_spread(one, max(2, round(share * len(one))), recipe.seed) for one in others)
    phases = tuple(
        replace(phase, train=msgspec.structs.replace(phase.train, epochs=_EPOCHS))
        if phase.changes_backbone
        else phase
        for phase in chosen.plan.phases
    )
    # Near-duplicates are searched among all images, which a pilot must not decode.
    split = msgspec.structs.replace(recipe.split, near_duplicates=False)
    plan = replace(chosen.plan, phases=phases, recipe=msgspec.structs.replace(recipe, split=split))
    fewer = replace(splits, train=train, valid=valid, test=test, pool=None)
    return replace(chosen, plan=plan, splits=fewer)


def _spread(data: Dataset, most: int, seed: int) -> Dataset:
    """At most `most` examples, with each target in turn."""
    if len(data) <= most:
        return data
    order = np.random.default_rng(seed).permutation(len(data))
    keys = [data.targets[row].tobytes() for row in order.tolist()]
    seen: dict[bytes, int] = {}
    turns = [seen.setdefault(key, 0) for key in keys]
    for place, key in enumerate(keys):
        turns[place] = seen[key]
        seen[key] += 1
    return data.take(order[np.argsort(turns, kind="stable")[:most]])


def _embedding_rate(frozen: Frozen, progress: Progress) -> tuple[float, float]:
    """Seconds of the first forward pass beyond the others, and seconds per input."""
    data = frozen.splits.train.joined(frozen.splits.valid)
    few = data.take(range(min(8, len(data))))
    laps = []
    for part in (few, data):
        began = monotonic()
        embed(frozen, [(part, 1)], None, progress)
        laps.append(monotonic() - began)
    per_input = laps[1] / len(data)
    return max(0.0, laps[0] - per_input * len(few)), per_input


def _missing(chosen: Chosen, frozen: Frozen) -> int:
    """Number of views whose embeddings are not cached."""
    recipe, splits = chosen.plan.recipe, chosen.splits
    views = Views(recipe.augment or (), recipe.seed)
    parts = [(splits.train, views.count), (splits.valid, 1)]
    if not chosen.plan.changes_backbone:
        parts.append((splits.test, 1))
    keys = list(
        {views.key(key, view) for part, count in parts for key in part.digests for view in range(count)}
    )
    machine = chosen.machine
    extractor = build_extractor(frozen.backbone, machine.device, machine.precision, recipe.text)
    if must_be_fitted(chosen.backbone) or not extractor.fingerprint:
        return len(keys)
    store, cached = FeatureStore(), 0
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        into = np.empty((len(some), extractor.width), np.float32)
        cached += int(store.read(extractor.fingerprint, some, into).sum())
    return len(keys) - cached


def _head_seconds(chosen: Chosen, frozen: Frozen, checkpoints: RunCheckpoints, progress: Progress) -> float:
    """Seconds of a fit on all examples, from one on noisy copies of the pilot's embeddings."""
    train = _spread(chosen.splits.train, _HEAD, chosen.plan.recipe.seed)
    generator = np.random.default_rng(chosen.plan.recipe.seed)
    rows: dict[bytes, list[int]] = {}
    for row, target in enumerate(frozen.splits.train.targets):
        rows.setdefault(target.tobytes(), []).append(row)
    every = list(range(len(frozen.splits.train)))
    like = [generator.choice(rows.get(target.tobytes(), every)) for target in train.targets]
    copies = (
        np.asarray(frozen.train)
        .reshape(len(every), frozen.views, -1)[like]
        .reshape(len(train) * frozen.views, -1)
    )
    noise = generator.standard_normal(copies.shape).astype(np.float32) * copies.std(axis=0)
    plan = replace(frozen.plan, phases=frozen.plan.phases[:1])
    enlarged = replace(
        frozen, plan=plan, splits=replace(frozen.splits, train=train), train=copies + noise / 2
    )
    began = monotonic()
    pooled_steps.add_head_and_train(enlarged, checkpoints, progress)
    return (monotonic() - began) * len(chosen.splits.train) / len(train)


@dataclass(frozen=True)
class _Lap:
    seconds: float
    memory: int


class _Watch:
    """Time and peak memory of each step of a pilot, and the times of epochs of fine-tuning."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._phases: list[list[float]] = []
        _reset_peak()

    def lap(self) -> _Lap:
        """The time and peak memory since the last lap."""
        now = monotonic()
        lap = _Lap(now - self._began, _peak())
        self._began = now
        _reset_peak()
        return lap

    def progress(self, quiet: Progress) -> Progress:
        """A progress that notes when phases of fine-tuning begin and epochs end."""

        def emit(event: Event) -> None:
            if event["event"] == "stage":
                self._phases.append([monotonic()])
            elif event["event"] == "epoch" and event["step"] == "fine_tune":
                self._phases[-1].append(monotonic())

        return replace(quiet, emit=emit)

    def fine_tuning(self, chosen: Chosen, frozen: Frozen, per_input: float) -> float:
        """Seconds of all epochs on all examples."""
        scale = len(chosen.splits.train) / len(frozen.splits.train)
        tuned = [phase for phase in chosen.plan.phases if phase.changes_backbone]
        timed = [times for times in self._phases if len(times) > _EPOCHS]
        blocks = len(chosen.backbone.facts.blocks)
        total = 0.0
        for phase, times in zip(tuned, timed, strict=False):
            first, second = np.diff(times[: _EPOCHS + 1])
            # Outputs of frozen blocks are computed once where the images stay the same.
            once = 0.0 if chosen.plan.recipe.augment or len(phase.trainable) == blocks else per_input
            examples = len(frozen.splits.train) + len(frozen.splits.valid)
            fixed = max(0.0, float(first - second) - once * examples)
            total += fixed + scale * (once * examples + (phase.train.epochs or 1) * float(second))
        return total


def _reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Peak resident memory of this process since the reset, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _summed(chosen: Chosen, steps: tuple[StepEstimate, ...]) -> Estimate:
    memory, disk = max(step.memory for step in steps), sum(step.disk for step in steps)
    available = machine_memory()[1] + _peak()
    free = shutil.disk_usage(paths.cache() if paths.cache().exists() else Path.home()).free
    warnings = []
    if memory > available:
        warnings.append(
            f"the training needs about {_gigabytes(memory)} of memory, and {_gigabytes(available)} are "
            "available. Fix: a smaller batch_size or backbone, fewer blocks to unfreeze, or another machine"
        )
    if disk > free:
        warnings.append(
            f"the training needs about {_gigabytes(disk)} of disk space, and {_gigabytes(free)} are free. "
            "Fix: `transfer cache prune`, or TRANSFER_HOME on another disk"
        )
    return Estimate(
        backbone=chosen.plan.recipe.backbone,
        task=chosen.plan.task.name,
        examples=_size(chosen),
        steps=steps,
        seconds=sum(step.seconds for step in steps),
        memory=memory,
        disk=disk,
        available_memory=available,
        free_disk=free,
        warnings=tuple(warnings),
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
