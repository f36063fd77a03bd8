"""Steps 2 to 5 and evaluation for generated texts; implements `steps.Steps`.

The decoder is the head, so that steps 3 and 4 add nothing: step 5 trains the phases of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.data import Dataset, DataSplits, emit_data_warnings, left_over
from transfer_core.data.bad_input import bad_inputs, left_out, printable
from transfer_core.finetune.teacher_forcing import TokenPairs, train_pairs
from transfer_core.generation import TextGenerator
from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.metrics.text_overlap import check_scorers
from transfer_core.model.loading import save_new
from transfer_core.model.model import Model
from transfer_core.model.reporting import write_run_report
from transfer_core.model.text_predictor import TextPredictor, generated_texts
from transfer_core.model_file.format import tensors_digest
from transfer_core.pipeline.artifacts import Chosen, Trained
from transfer_core.pipeline.header import header_of
from transfer_core.runs.backbone_changes import changed_by, restore_backbone
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runtime.overall_progress import ExpectedPhase
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.run_log import RunLog
from transfer_core.tasks import State

# In forward passes of one example: a training step, and the generation of one text.
_CHOOSE, _TRAIN, _GENERATE = 20.0, 4.0, 5.0


@dataclass(frozen=True)
class Tokenized(Chosen):
    """Output of step 2: tokens of training and validation pairs, the untuned model's texts for the test
    sources, and the state of the task."""

    generator: TextGenerator
    train: TokenPairs
    valid: TokenPairs
    untuned: list[str]
    state: State


def expected_work(chosen: Chosen) -> list[ExpectedPhase]:
    """See `Steps`."""
    splits = chosen.splits
    generation = _GENERATE * len(splits.test)
    phases = [ExpectedPhase("choose", _CHOOSE), ExpectedPhase("freeze", generation)]
    for phase in chosen.plan.phases:
        epochs = phase.train.epochs or 1
        work = _TRAIN * len(splits.train) + len(splits.valid)
        phases.append(ExpectedPhase("fine_tune", epochs * work, epochs))
    phases.append(ExpectedPhase("evaluate", generation))
    return phases


def freeze(chosen: Chosen, progress: Progress) -> Tokenized:
    """Step 2: tokenize all pairs, and generate texts with the untuned model, to compare with."""
    check_scorers()
    backbone, recipe = chosen.backbone.module(), chosen.plan.recipe
    assert isinstance(backbone, EncoderDecoder)
    device = chosen.machine.device
    backbone.to(device)
    generator = TextGenerator(backbone, recipe.text, recipe.languages, recipe.generation, device)
    progress.stage("freeze", "tokenize, and measure the untuned model")
    splits = _without_overlong(chosen.splits, generator, recipe.on_bad_input == "raise", progress)
    emit_data_warnings(splits, recipe, progress)
    train, valid = (_pairs(part, generator) for part in (splits.train, splits.valid))
    untuned = generated_texts(generator, splits.test.inputs, progress)
    backbone.to("cpu")
    state = chosen.plan.task.fit(splits.labels, splits.train)
    return Tokenized(chosen.plan, backbone, splits, chosen.machine, generator, train, valid, untuned, state)


def add_head_and_train(
    frozen: Tokenized, checkpoints: RunCheckpoints, progress: Progress
) -> tuple[Tokenized, None]:
    """Steps 3 and 4: nothing, as the decoder is the head."""
    return frozen, None


def fine_tune(frozen: Tokenized, head: None, checkpoints: RunCheckpoints, progress: Progress) -> Trained:
    """Step 5: train every phase, from the checkpoint of an interrupted run if there is one."""
    backbone, plan = frozen.backbone.module(), frozen.plan
    assert isinstance(backbone, EncoderDecoder)
    published = tensors_digest(backbone.state_dict())
    history: list[dict[str, Any]] = []
    if checkpoints.phase > 0:
        restore_backbone(backbone, checkpoints.changed)
        history = list(checkpoints.history)
    start = frozen.generator.codec.layout.start
    assert isinstance(start, int)
    for number, phase in list(enumerate(plan.phases))[checkpoints.phase :]:
        progress.stage("fine_tune", f"fine-tune {phase.title(len(backbone.blocks))}")
        changed = partial(changed_by, plan.phases[:number], backbone, phase)
        checkpointer = checkpoints.for_phase(number, phase, history, changed)
        seed = plan.recipe.seed + number
        parts = frozen.train, frozen.valid
        entries = train_pairs(backbone, phase, *parts, start, frozen.machine, seed, progress, checkpointer)
        history += [{"step": "fine_tune", **entry} for entry in entries]
    digest = tensors_digest(backbone.state_dict())
    if digest != published:
        backbone.weights_digest = digest
    return Trained(nn.Identity(), digest != published, history, 0, fitted_on_valid=False)


def evaluate(frozen: Tokenized, tuned: Trained, path: Path, log: RunLog, progress: Progress) -> Model:
    """Evaluate on the test sources beside the untuned model, and save at `path`."""
    splits = frozen.splits
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} {splits.modality.many}")
    if not tuned.backbone_changed:
        progress.warning("training gained nothing; the model is the untuned one")
    draft = Model(Path(), header_of(frozen, frozen.state, tuned), frozen.backbone, tuned.head)
    predictor = draft.predictor
    assert isinstance(predictor, TextPredictor)
    metrics: dict[str, Any] = {}
    if len(splits.test):
        texts = predictor.texts(splits.test.inputs, progress)
        metrics = predictor.score(splits.test, texts, frozen.untuned)
        for warning in baseline_warnings(metrics):
            progress.warning(warning)
    else:
        progress.warning("nothing was held out, so the model was not measured")
    frozen.backbone.module().to("cpu")
    noted = {"warnings": tuple(log.warnings), "seconds": log.seconds()}
    header = msgspec.structs.replace(draft.header, metrics=metrics, **noted)
    model = save_new(path, header, frozen.backbone, tuned.head)
    write_run_report(model, splits.test, None, progress)
    return model


def _pairs(part: Dataset, generator: TextGenerator) -> TokenPairs:
    inputs, targets = list(part.inputs), part.targets.tolist()
    return TokenPairs(generator.sources(inputs), generator.codec.targets(targets))


def _without_overlong(
    splits: DataSplits, generator: TextGenerator, raises: bool, progress: Progress
) -> DataSplits:
    """Leave out pairs with more tokens than the network reads, or raise `DataError` that lists them."""
    reasons: dict[str, str] = {}
    for part in (splits.train, splits.valid, splits.test):
        reasons |= _overlong(part.inputs, part.targets.tolist(), generator)
    if not reasons:
        return splits
    if raises:
        raise bad_inputs({printable(text[:80]): why for text, why in reasons.items()}, "pairs")
    progress.warning(left_out({(text[:80],): f"{text[:80]}: {why}" for text, why in reasons.items()}))
    return left_over(splits, reasons)


def _overlong(sources: Sequence[Any], targets: Sequence[str], generator: TextGenerator) -> dict[str, str]:
    longest = generator.longest
    codec = generator.codec
    counts = zip(sources, codec.sources(list(sources)), codec.targets(targets), strict=True)
    return {
        source: f"it has {max(len(one), len(other))} tokens, more than max_length {longest}"
        for source, one, other in counts
        if max(len(one), len(other)) > longest
    }
