"""Pilot of a training for generated texts; implements `steps.Pilot`."""

from __future__ import annotations

from pathlib import Path

import torch

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.finetune.teacher_forcing import encoded
from transfer_core.generation.generator import BATCH
from transfer_core.pipeline import generation_steps
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.generation_steps import Tokenized
from transfer_core.pipeline.pilot import (
    CHECKPOINT,
    StepEstimate,
    Stopwatch,
    expected,
    fewer,
    in_proportion,
    seconds_of,
    shortened,
)
from transfer_core.plan.phases import Phase
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.folder import RunFolder
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.run_log import RunLog

# Training pairs of the pilot, or a batch if that has more.
_PILOT = 32
# Generated texts: several batches run side by side, which is faster per text than one batch on all cores.
_GENERATED = 2 * BATCH
# Sources that are tokenized, to know the size of their states.
_TOKENIZED = 4096
_HALF = 2


def measure(chosen: Chosen, folder: Path, watch: Stopwatch, progress: Progress) -> tuple[StepEstimate, ...]:
    """See `Pilot`."""
    quiet, plan, splits = Progress(cancelled=progress.cancelled), chosen.plan, chosen.splits
    most = max(_PILOT, *(phase.train.batch_size or 0 for phase in plan.phases))
    _, held_out, _ = in_proportion(splits, most)
    pilot = fewer(chosen, (most, held_out, _GENERATED), lambda _: 0, list(map(shortened, plan.phases)))
    every = sum(map(len, (splits.train, splits.valid, splits.test)))
    progress.stage("freeze", f"time {len(pilot.splits.train)} of {every} {splits.modality.many}")
    frozen = generation_steps.freeze(pilot, quiet)
    freezing = watch.lap()
    per_text = freezing.seconds / max(1, len(frozen.splits.test))
    per_source, states = _encoding(chosen, frozen, quiet)
    encoding = watch.lap()
    progress.stage("fine_tune", "time an epoch")
    checkpoints = RunCheckpoints(RunFolder(folder), [], quiet)
    tuned = generation_steps.fine_tune(frozen, None, checkpoints, watch.watching(quiet))
    tuning = watch.lap()
    file = folder / "model.transfer"
    generation_steps.evaluate(frozen, tuned, file, RunLog(), quiet)
    evaluating, model_bytes = watch.lap(), file.stat().st_size
    further = per_text * (len(splits.test) - len(frozen.splits.test))
    return (
        StepEstimate("freeze", freezing.seconds + further, freezing.memory, 0),
        StepEstimate("head", 0.0, freezing.memory, 0),
        StepEstimate("train", 0.0, freezing.memory, 0),
        StepEstimate(
            "fine_tune",
            _tuning_seconds(chosen, frozen, watch, per_source),
            max(encoding.memory, tuning.memory),
            states + CHECKPOINT * model_bytes,
        ),
        StepEstimate("evaluate", evaluating.seconds + further, evaluating.memory, model_bytes),
    )


def _encoding(chosen: Chosen, frozen: Tokenized, progress: Progress) -> tuple[float, int]:
    """Seconds per source of a frozen encoder, and bytes of the states of all sources in all phases; 0 where
    the encoder trains."""
    backbone, splits = frozen.backbone.module(), chosen.splits
    assert isinstance(backbone, EncoderDecoder)
    phases = sum(_freezes_encoder(backbone, phase) for phase in frozen.plan.phases)
    if not phases:
        return 0.0, 0
    sources = frozen.train.joined(frozen.valid).sources
    found = []
    seconds = seconds_of(
        lambda: found.append(encoded(backbone, sources, torch.device(frozen.machine.device), progress))
    )
    backbone.to("cpu")
    if found[0] is None:
        return seconds / len(sources), 0
    texts = [*splits.train.inputs, *splits.valid.inputs]
    tokens = sum(map(len, frozen.generator.sources(texts[:_TOKENIZED])))
    state = found[0][0].shape[1] * _HALF
    share = len(texts) / min(len(texts), _TOKENIZED)
    return seconds / len(sources), phases * round(tokens * share) * state


def _freezes_encoder(backbone: EncoderDecoder, phase: Phase) -> bool:
    encoder = backbone.facts.blocks[: backbone.shape.encoder_blocks]
    return phase.lora is None and not set(encoder) & set(phase.trainable)


def _tuning_seconds(chosen: Chosen, frozen: Tokenized, watch: Stopwatch, per_source: float) -> float:
    """Seconds of all epochs of all phases on all pairs."""
    works = expected(generation_steps.expected_work, chosen, frozen, "fine_tune")
    every, some = (len(one.splits.train) + len(one.splits.valid) for one in (chosen, frozen))
    total = 0.0
    for times, work in zip(watch.phases("fine_tune"), works, strict=True):
        total += times.seconds(*work, (every, some), per_source)
    return total
