"""Pilot of a training on pooled embeddings; implements `steps.Pilot`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log2
from pathlib import Path

import numpy as np

from transfer_core.data import Dataset
from transfer_core.features import FeatureStore, Views, build_extractor
from transfer_core.features.fitted import must_be_fitted
from transfer_core.pipeline import pooled_steps
from transfer_core.pipeline.artifacts import Chosen, Frozen
from transfer_core.pipeline.embedding import embed
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
    spread,
)
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.folder import RunFolder
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.run_log import RunLog
from transfer_core.tasks.criteria import Array

# Training examples of the pilot: two batches of most networks. Examples on which a head is fitted.
_PILOT, _HEAD = 48, 512
# Bytes of the thumbnail of an image.
_THUMBNAIL = 1100
# Copies of the embeddings while a head is fitted.
_COPIES = 3
_FLOAT = 4
_AT_ONCE = 4096
# Time of adaptation by the number of rows: at most its cube.
_STEEPEST = 3.0


def measure(chosen: Chosen, folder: Path, watch: Stopwatch, progress: Progress) -> tuple[StepEstimate, ...]:
    """See `Pilot`."""
    quiet, changes, splits = (
        Progress(cancelled=progress.cancelled),
        chosen.plan.changes_backbone,
        chosen.splits,
    )
    phases = [shortened(phase) if phase.changes_backbone else phase for phase in chosen.plan.phases]
    pilot = fewer(chosen, in_proportion(splits, _PILOT), _bytes, phases)
    some, every = len(pilot.splits.train), sum(map(len, (splits.train, splits.valid, splits.test)))
    progress.stage("freeze", f"time {some} of {every} {splits.modality.many}")
    frozen = pooled_steps.freeze(pilot, quiet)
    first_s, per_input = _embedding_rate(frozen, quiet)
    missing = _missing(chosen, frozen)
    freezing = watch.lap()
    progress.stage("train", "time the head")
    checkpoints = RunCheckpoints(RunFolder(folder), [], quiet)
    head_s = _head_seconds(chosen, frozen, checkpoints, quiet)
    frozen, head = pooled_steps.add_head_and_train(frozen, checkpoints, quiet)
    training = watch.lap()
    progress.stage("fine_tune", "time an epoch" if changes else "no blocks are trained")
    tuned = pooled_steps.fine_tune(frozen, head, checkpoints, watch.watching(quiet))
    tuning = watch.lap()
    file = folder / "model.transfer"
    pooled_steps.evaluate(frozen, tuned, file, RunLog(), quiet)
    evaluating, model_bytes = watch.lap(), file.stat().st_size
    width = frozen.backbone.facts.embedding_width or frozen.train.shape[1]
    unlabelled = len(splits.domains.unlabelled) if splits.domains else 0
    rows = len(splits.train) * frozen.views + len(splits.valid) + len(splits.test) + unlabelled
    arrays = rows * width * _FLOAT
    row = width * _FLOAT + ROW + (_THUMBNAIL if splits.modality.name == "image" else 0)
    freeze_s = first_s + missing * per_input if missing else 0.0
    tune_s = _fine_tuning(chosen, frozen, watch, per_input) if changes else 0.0
    evaluate_s = evaluating.seconds + (len(splits.test) * per_input if changes else 0)
    checkpoint = CHECKPOINT * model_bytes if changes else 0
    return (
        StepEstimate("freeze", freeze_s, freezing.memory + arrays, missing * row),
        StepEstimate("head", 0.0, freezing.memory + arrays, 0),
        StepEstimate("train", head_s, training.memory + _COPIES * arrays, 0),
        StepEstimate("fine_tune", tune_s, tuning.memory + arrays, checkpoint),
        StepEstimate("evaluate", evaluate_s, evaluating.memory + arrays, model_bytes),
    )


def _bytes(target: Array) -> bytes:
    return target.tobytes()


def _embedding_rate(frozen: Frozen, progress: Progress) -> tuple[float, float]:
    """Seconds of the first forward pass beyond the others, and seconds per input."""
    data = frozen.splits.train.joined(frozen.splits.valid)
    few = data.take(range(min(8, len(data))))
    first, whole = (seconds_of(partial(embed, frozen, [(part, 1)], None, progress)) for part in (few, data))
    per_input = whole / len(data)
    return max(0.0, first - per_input * len(few)), per_input


def _missing(chosen: Chosen, frozen: Frozen) -> int:
    """Number of views whose embeddings are not cached."""
    recipe, splits = chosen.plan.recipe, chosen.splits
    views = Views(recipe.augment or (), recipe.seed)
    parts = [(splits.train, views.count), (splits.valid, 1)]
    if not chosen.plan.changes_backbone or splits.domains:
        parts.append((splits.test, 1))
    if splits.domains:
        parts.append((splits.domains.unlabelled, 1))
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
    """Seconds of a fit on all examples, from one on noisy copies of the pilot's embeddings.

    Adaptation to another domain may take time that grows faster than the number of rows: its exponent is
    measured by a second fit, of half as many.
    """
    train, domains = chosen.splits.train, chosen.splits.domains
    rows = len(train) + (len(domains.unlabelled) if domains else 0)
    share = min(1.0, _HEAD / rows)

    def fit(share: float) -> float:
        enlarged = _enlarged(chosen, frozen, share)
        return seconds_of(lambda: pooled_steps.add_head_and_train(enlarged, checkpoints, progress))

    seconds, exponent = fit(share), 1.0
    if domains and share < 1:
        exponent = min(_STEEPEST, max(1.0, log2(seconds / fit(share / 2))))
    return float(seconds / share**exponent)


def _enlarged(chosen: Chosen, frozen: Frozen, share: float) -> Frozen:
    """The pilot with a share of all examples, whose embeddings are noisy copies of the pilot's."""
    splits, seed = chosen.splits, chosen.plan.recipe.seed
    generator = np.random.default_rng(seed)

    def part(data: Dataset) -> Dataset:
        return spread(data, max(2, round(share * len(data))), seed, _bytes)

    def copies(rows: Array, like: list[int]) -> Array:
        found: Array = np.asarray(rows)[like]
        noise = generator.standard_normal(found.shape).astype(np.float32) * found.std(axis=0)
        found += noise / 2
        return found

    train, known = part(splits.train), frozen.splits.train
    places: dict[tuple[bool, bytes], list[int]] = {}
    for row, (domain, target) in enumerate(zip(known.from_source, known.targets, strict=True)):
        places.setdefault((bool(domain), _bytes(target)), []).append(row)
    every = list(range(len(known)))
    like = [
        int(generator.choice(places.get((bool(domain), _bytes(target)), every)))
        for domain, target in zip(train.from_source, train.targets, strict=True)
    ]
    viewed = np.asarray(frozen.train).reshape(len(known), frozen.views, -1)
    embeddings = copies(viewed, like).reshape(len(train) * frozen.views, -1)
    domains, unlabelled = frozen.splits.domains, frozen.unlabelled
    if domains and splits.domains and unlabelled is not None and len(unlabelled):
        inputs = part(splits.domains.unlabelled)
        unlabelled = copies(unlabelled, generator.integers(len(unlabelled), size=len(inputs)).tolist())
        domains = replace(domains, unlabelled=inputs)
    return replace(
        frozen,
        plan=replace(frozen.plan, phases=frozen.plan.phases[:1]),
        splits=replace(frozen.splits, train=train, domains=domains),
        train=embeddings,
        unlabelled=unlabelled,
    )


def _fine_tuning(chosen: Chosen, frozen: Frozen, watch: Stopwatch, per_input: float) -> float:
    """Seconds of all epochs on all examples."""
    tuned = [phase for phase in chosen.plan.phases if phase.changes_backbone]
    works = expected(pooled_steps.expected_work, chosen, frozen, "fine_tune")
    blocks = len(chosen.backbone.facts.blocks)
    total = 0.0
    for phase, times, work in zip(tuned, watch.phases("fine_tune"), works, strict=False):
        # Outputs of frozen blocks are computed once where the images stay the same.
        once = not chosen.plan.recipe.augment and len(phase.trainable) < blocks
        inputs = _inputs(chosen), _inputs(frozen)
        total += times.seconds(*work, inputs if once else (0, 0), per_input)
    return total


def _inputs(chosen: Chosen) -> int:
    splits = chosen.splits
    adapted = len(splits.domains.unlabelled) if splits.domains and chosen.plan.recipe.adapt else 0
    return len(splits.train) + len(splits.valid) + adapted
