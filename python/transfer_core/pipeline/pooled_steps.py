"""Steps 2 to 5 and evaluation for tasks on pooled embeddings; implements `steps.Steps`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from transfer_core.data import emit_data_warnings
from transfer_core.heads import HeadFit
from transfer_core.model.loading import save_new
from transfer_core.model.model import Model
from transfer_core.model.reporting import write_run_report
from transfer_core.pipeline.artifacts import Chosen, Frozen, Tuned
from transfer_core.pipeline.continuing import freeze_with_stored, kept_metrics
from transfer_core.pipeline.domain_head import fit_domain_head, prepared
from transfer_core.pipeline.evaluation import measure, shifted
from transfer_core.pipeline.expected_work import expected_work
from transfer_core.pipeline.few_shot import fit_few_shot, has_few_examples
from transfer_core.pipeline.freezing import embed_all
from transfer_core.pipeline.frozen_head import fit_best, with_and_without_views, without_fine_tuning
from transfer_core.pipeline.header import header_of
from transfer_core.pipeline.novelty import detect_novelty
from transfer_core.pipeline.weights_summary import weights_summary
from transfer_core.recipe.relations import WiseFt
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.run_log import RunLog
from transfer_core.training.checkpointer import NO_CHECKPOINTS

__all__ = ["add_head_and_train", "evaluate", "expected_work", "fine_tune", "freeze"]


def freeze(chosen: Chosen, progress: Progress) -> Frozen:
    """Step 2: embed all examples with the frozen backbone, one forward pass each."""
    if chosen.base:
        return freeze_with_stored(chosen, progress)
    frozen = embed_all(chosen, progress)
    emit_data_warnings(frozen.splits, frozen.plan.recipe, progress)
    if distill := frozen.plan.recipe.distill:
        from transfer_core.pipeline.teacher import taught

        return taught(frozen, distill, progress)
    return frozen


def add_head_and_train(
    frozen: Frozen, checkpoints: RunCheckpoints, progress: Progress
) -> tuple[Frozen, HeadFit]:
    """Steps 3 and 4: a new head for these labels, fitted on the embeddings that lower its held-out loss."""
    plan, outputs = frozen.plan, len(frozen.splits.labels)
    head, train = plan.recipe.head, plan.head_phase.train
    assert head is not None
    progress.stage("head", f"add a {head.__struct_config__.tag} head with {outputs} outputs")
    if plan.recipe.source:
        frozen = prepared(frozen, not plan.further_phases, progress)
    needed = plan.must_gain or isinstance(plan.recipe.regularize, WiseFt)
    if checkpoints.phase > 0 and not needed:  # the checkpoint of a later phase has its weights
        from transfer_core.heads.modules import untrained_head

        untrained = untrained_head(head, frozen.backbone.facts.embedding_width, outputs)
        return frozen, HeadFit(untrained, [], np.empty(0), np.empty(0))
    how = f" with {train.optimizer}" if train.optimizer else ""
    progress.stage("train", f"train the head{how}")
    resumed = checkpoints.phase > 0
    checkpointer = NO_CHECKPOINTS if resumed else checkpoints.for_phase(0, plan.head_phase, [])
    # Further phases choose the best epoch by the validation examples: the head is not fitted on them.
    if plan.recipe.source:
        return fit_domain_head(frozen, not plan.further_phases, progress, checkpointer)
    if has_few_examples(frozen):
        return fit_few_shot(frozen, progress)
    candidates = with_and_without_views(frozen)
    return fit_best(candidates, not plan.further_phases, progress, checkpointer)


def fine_tune(frozen: Frozen, fitted: HeadFit, checkpoints: RunCheckpoints, progress: Progress) -> Tuned:
    """Step 5: train the further phases of the plan, if there are any."""
    if frozen.plan.further_phases:
        from transfer_core.pipeline.fine_tuning import fine_tune_backbone

        return fine_tune_backbone(frozen, fitted, checkpoints, progress)
    history = [{"step": "train", **entry} for entry in fitted.history]
    return without_fine_tuning(fitted, history, frozen.plan.head_phase.cross_validates)


def evaluate(frozen: Frozen, tuned: Tuned, path: Path, log: RunLog, progress: Progress) -> Model:
    """Calibrate the scores, evaluate on the test examples, and save at `path`.

    Parameters
    ----------
    frozen, tuned
        Outputs of steps 2 and 5.
    path
        The model file.
    log
        Warnings and times of this run, for the header.
    progress
        Progress events and cancellation.
    """
    splits = frozen.splits
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} {splits.modality.many}")
    state = frozen.state
    if tuned.calibrated:
        state = frozen.task.calibrate(state, tuned.held_out, tuned.held_out_targets)
    draft = Model(Path(), header_of(frozen, state, tuned), frozen.backbone, tuned.head)
    novelty, measured = detect_novelty(frozen, tuned, progress)
    for warning in frozen.task.calibration_warnings(splits.labels, state, tuned.held_out_targets):
        progress.warning(warning)
    if _gained_nothing(tuned):
        progress.warning("fine-tuning gained nothing; the frozen head was kept")
    metrics, embeddings = measure(draft, frozen, progress)
    if metrics and measured:
        metrics |= {"novelty": measured}
    metrics |= kept_metrics(draft, frozen, progress)
    for warning in shifted(frozen, tuned, metrics):
        progress.warning(warning)
    header = msgspec.structs.replace(
        draft.header,
        metrics=metrics,
        instance_weights=weights_summary(frozen),
        warnings=tuple(log.warnings),
        seconds=log.seconds(),
    )
    model = save_new(path, header, frozen.backbone, tuned.head, novelty)
    write_run_report(model, splits.test, embeddings, progress)
    return model


def _gained_nothing(tuned: Tuned) -> bool:
    """Whether fine-tuning ran, and no epoch had a lower validation loss than the frozen head."""
    return not tuned.backbone_changed and any(entry["step"] == "fine_tune" for entry in tuned.history)
