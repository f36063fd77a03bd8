"""Step 5 in detail: one phase after the other, kept only if it improves on the frozen head."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from transfer_core import backbones
from transfer_core.data import Dataset
from transfer_core.finetune import Examples, fine_tune
from transfer_core.finetune.near_published import State, copied, interpolate, l2_sp
from transfer_core.heads import HeadFit
from transfer_core.heads.minibatch import fit_minibatch
from transfer_core.heads.modules import head_of, module_of
from transfer_core.model_file.format import tensors_digest
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.pipeline.deep_adaptation import examples_of_both
from transfer_core.pipeline.distillation import taught_examples
from transfer_core.pipeline.embedding import embed
from transfer_core.pipeline.freezing import embedded_anew
from transfer_core.pipeline.frozen_head import (
    example_weights,
    fit_frozen_head,
    head_rows,
    without_fine_tuning,
)
from transfer_core.pipeline.gain import gained
from transfer_core.pipeline.group_weights import cells_of
from transfer_core.pipeline.reuse import partly_random
from transfer_core.pipeline.views import view_changes
from transfer_core.plan.phases import Phase
from transfer_core.recipe.relations import L2Sp, WiseFt
from transfer_core.runs.backbone_changes import changed_by, restore_backbone
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.checkpointer import Checkpointer


def fine_tune_backbone(
    frozen: Frozen, fitted: HeadFit, checkpoints: RunCheckpoints, progress: Progress
) -> Tuned:
    """Train the further phases of the plan; without a gain the head is fitted as on a frozen backbone."""
    before = fitted.head(frozen.valid)
    tuned = _all_phases(frozen, fitted, checkpoints, progress)
    # An adapted network is for the target: no labels tell whether it gained.
    if frozen.plan.recipe.adapt or gained(frozen, before, tuned):
        return tuned
    if tuned.backbone_changed:
        _restore_published(frozen, progress)
    refitted = fit_frozen_head(frozen, True, Progress(cancelled=progress.cancelled))
    return without_fine_tuning(refitted, tuned.history, frozen.plan.head_phase.cross_validates)


def _restore_published(frozen: Frozen, progress: Progress) -> None:
    """Restore the published weights of the backbone."""
    recipe, backbone = frozen.plan.recipe, frozen.backbone.module()
    published = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
    published = partly_random(published, recipe, progress).module()
    backbone.load_state_dict(published.state_dict())
    backbone.weights_digest = published.weights_digest


def _all_phases(frozen: Frozen, fitted: HeadFit, checkpoints: RunCheckpoints, progress: Progress) -> Tuned:
    """Train every phase after the first, from the checkpoint of an interrupted run if there is one."""
    backbone, further = frozen.backbone.module(), frozen.plan.further_phases
    head, history = (
        module_of(fitted.head, frozen.plan.recipe.head),
        [{"step": "train", **entry} for entry in fitted.history],
    )
    published = embedded = now = tensors_digest(backbone.state_dict())
    near = _near_published(frozen, fitted)
    if checkpoints.phase > 0:
        restore_backbone(backbone, checkpoints.changed)
        history, now = list(checkpoints.history), tensors_digest(backbone.state_dict())
    for number, phase in list(enumerate(further, start=1))[max(0, checkpoints.phase - 1) :]:
        seed = frozen.plan.recipe.seed + number - 1
        changed = partial(changed_by, further[: number - 1], backbone, phase)
        checkpointer = checkpoints.for_phase(number, phase, history, changed)
        if phase.changes_backbone:
            history += _fine_tune(frozen, head, phase, seed, progress, checkpointer, near)
            now = tensors_digest(backbone.state_dict())
            if not phase.is_contrastive:
                continue
        if now != embedded:
            loaded = backbone.weights_digest
            if now != published:
                backbone.weights_digest = now  # execution settings are measured per weights
            frozen, embedded = embedded_anew(frozen, progress), now
            # Fine-tuning uses the settings measured for its initial weights, resumed or not.
            backbone.weights_digest = loaded
        if phase.is_contrastive:
            progress.stage("train", "fit the head on the trained embeddings")
            anew = fit_frozen_head(frozen, False, progress)
            head = module_of(anew.head, frozen.plan.recipe.head)
            history += [{"step": "train", **entry} for entry in anew.history]
            continue
        progress.stage("train", f"train the head further with {phase.train.optimizer}")
        history += _train_head_further(frozen, head, phase, seed, progress, checkpointer)
    if isinstance(regularize := frozen.plan.recipe.regularize, WiseFt) and now != published:
        history += _interpolated(frozen, head, near, regularize, progress)
        now = tensors_digest(backbone.state_dict())
    if now != published:
        backbone.weights_digest = now
    valid = frozen.splits.valid
    embeddings = frozen.valid if now == embedded else embed(frozen, [(valid, 1)], None, progress).embeddings
    tuned = head_of(head)
    held_out, targets = tuned(np.asarray(embeddings)), frozen.task.targets(valid, frozen.state)
    return Tuned(tuned, now != published, history, len(held_out), False, held_out, targets)


def _fine_tune(
    frozen: Frozen,
    head: nn.Sequential,
    phase: Phase,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
    near: tuple[State, State],
) -> list[dict[str, Any]]:
    """Train blocks of the backbone with the head; returns the history."""
    recipe = frozen.plan.recipe
    progress.stage("fine_tune", f"fine-tune {phase.title(len(frozen.backbone.facts.blocks))}")
    robust = phase.train.group_weights == "robust"
    parts = zip((frozen.splits.train, frozen.splits.valid), cells_of(frozen), strict=True)
    examples, valid = (_examples(frozen, part, phase, cells if robust else None) for part, cells in parts)
    adaptation = lesson = penalty = None
    if recipe.adapt:
        examples, adaptation = examples_of_both(frozen, phase)
    if frozen.taught:
        examples, lesson = taught_examples(frozen, examples)
    if isinstance(recipe.regularize, L2Sp):
        penalty = l2_sp(frozen.backbone.module(), head, near[0], recipe.regularize)
    job: dict[str, Any] = {
        "backbone": frozen.backbone.module(),
        "head": head,
        "phase": phase,
        "examples": examples,
        "valid": valid,
        "augmentations": view_changes(frozen),
        "machine": frozen.machine,
        "criterion": frozen.task.criterion,
        "seed": seed,
        "text": recipe.text,
        "adaptation": adaptation,
        "penalty": penalty,
        "lesson": lesson,
    }
    if recipe.processes > 1:
        from transfer_core.distributed.fine_tuning import fine_tune_in_processes

        entries = fine_tune_in_processes(recipe.processes, job, progress, checkpointer)
    else:
        entries = fine_tune(**job, progress=progress, checkpointer=checkpointer)
    return [{"step": "fine_tune", **entry} for entry in entries]


def _near_published(frozen: Frozen, fitted: HeadFit) -> tuple[State, State]:
    """Copies of the published backbone and of the head fitted on it, if the recipe needs them."""
    recipe = frozen.plan.recipe
    if recipe.regularize is None:
        return {}, {}
    return copied(frozen.backbone.module()), copied(module_of(fitted.head, recipe.head))


def _interpolated(
    frozen: Frozen, head: nn.Sequential, near: tuple[State, State], how: WiseFt, progress: Progress
) -> list[dict[str, Any]]:
    """Interpolate between published and fine-tuned weights; returns the history."""
    plan, valid = frozen.plan, frozen.splits.valid
    if how.coefficient is None and not len(valid):
        message = "wise_ft chooses its coefficient by validation examples, and there are none"
        raise RecipeError([Problem("regularize", f"{message}. Fix: coefficient: 0.5")])
    progress.stage("fine_tune", "interpolate published and fine-tuned weights")
    blocks = frozen.backbone.facts.blocks
    changed = [block for phase in plan.further_phases for block in phase.changed(blocks)]
    entries = interpolate(
        frozen.backbone.module(),
        head,
        near,
        changed,
        how.coefficient,
        _examples(frozen, valid, plan.further_phases[-1], None),
        frozen.machine,
        frozen.task.criterion,
        progress,
        plan.recipe.text,
    )
    return [{"step": "wise_ft", **entry} for entry in entries]


def _examples(frozen: Frozen, dataset: Dataset, phase: Phase, cells: Array | None) -> Examples:
    task, state = frozen.task, frozen.state
    weights = example_weights(frozen, dataset, phase)
    targets = torch.from_numpy(task.targets(dataset, state))
    return Examples(dataset, targets, torch.from_numpy(weights), cells)


def _train_head_further(
    frozen: Frozen,
    head: nn.Sequential,
    phase: Phase,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
) -> list[dict[str, Any]]:
    """Train the head alone on embeddings; returns the history."""
    train, valid = head_rows(frozen, phase)
    head.requires_grad_(True)
    entries = fit_minibatch(head, train, valid, phase.train, seed, progress, checkpointer=checkpointer)
    return [{"step": "train", **entry} for entry in entries]
