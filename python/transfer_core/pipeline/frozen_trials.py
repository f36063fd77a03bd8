"""Trials on frozen embeddings: each backbone embeds once, and heads are compared by cross-validation.

All trials share one split, and the folds of a seed: their losses are paired by example.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np

from transfer_core.backbones.joint.joint_backbone import MOST_MEMBERS, joint_name
from transfer_core.data import Row
from transfer_core.features.fitted import must_be_fitted
from transfer_core.metrics import fit_temperature
from transfer_core.pipeline import five_steps, pooled_steps
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.few_shot import fit_few_shot, has_few_examples
from transfer_core.pipeline.frozen_head import fit_frozen_head
from transfer_core.recipe.heads import ClassicHead, GradientBoostingHead, RandomForestHead, SvmHead
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import CLASSES, Array

# Examples up to which a support vector machine is fitted: its time grows with their square.
_MOST_FOR_SVM = 3000


@dataclass(frozen=True)
class Embedded:
    """All examples in one split, embedded by the backbones `names`."""

    names: tuple[str, ...]
    frozen: Frozen

    def joined(self, other: Embedded) -> Embedded:
        """The embeddings of both, concatenated."""
        ours, theirs = self.frozen, other.frozen
        train, valid = (
            np.concatenate([np.asarray(one), np.asarray(more)], axis=1)
            for one, more in ((ours.train, theirs.train), (ours.valid, theirs.valid))
        )
        return Embedded(self.names + other.names, replace(ours, train=train, valid=valid))


@dataclass(frozen=True, eq=False)
class Trial:
    """A configuration with its loss on each example of the training and validation parts.

    Attributes
    ----------
    title
        Backbone and head.
    recipe
        The recipe that trains it.
    embedded
        The embeddings that the head is fitted on.
    losses
        (N, R) out-of-fold loss by example and repetition, NaN where it was not held out.
    seconds
        Time of one repetition.
    """

    title: str
    recipe: Recipe
    embedded: Embedded
    losses: Array
    seconds: float

    def by_example(self, repetitions: int | None = None) -> Array:
        """(N,) mean loss over the first `repetitions`, by default all."""
        losses = self.losses[:, :repetitions]
        held_out = np.isfinite(losses)
        sums, counts = np.where(held_out, losses, 0).sum(axis=1), held_out.sum(axis=1)
        found: Array = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return found

    @property
    def loss(self) -> float:
        """The mean over the examples that were held out; infinite without any."""
        losses = self.by_example()
        return float(np.nanmean(losses)) if np.isfinite(losses).any() else math.inf


def embed_split(
    recipe: Recipe,
    streams: Mapping[str, Iterable[Row]],
    spool: Path,
    like: Frozen | None,
    progress: Progress,
) -> Embedded:
    """Embed all examples with the backbone of `recipe`, in the split of `like` if it is given."""
    chosen = five_steps.choose(recipe, streams, spool, progress)
    if not isinstance(chosen.plan.task, PooledTask):
        message = (
            f"a search is for tasks on embeddings, not for {chosen.plan.task.name}. Fix: name a backbone"
        )
        raise RecipeError([Problem("backbone", message)])
    if like:
        split = msgspec.structs.replace(recipe.split, near_duplicates=False)
        within = msgspec.structs.replace(chosen.plan.recipe, split=split)
        chosen = replace(chosen, splits=like.splits, plan=replace(chosen.plan, recipe=within))
    return Embedded((recipe.backbone,), pooled_steps.freeze(chosen, progress))


def other_heads(embedded: Embedded) -> list[ClassicHead]:
    """Heads to compare with the default one."""
    frozen = embedded.frozen
    heads: list[ClassicHead] = []
    if len(frozen.train) + len(frozen.valid) <= _MOST_FOR_SVM:
        heads.append(SvmHead())
    if frozen.splits.modality.name == "table":
        heads += [RandomForestHead(), GradientBoostingHead()]
    return heads


def run_trial(recipe: Recipe, embedded: Embedded, head: ClassicHead | None, progress: Progress) -> Trial:
    """Cross-validate a head, by default that of the plan, with the folds of the recipe's seed."""
    name = joint_name(embedded.names)
    began = monotonic()
    losses = _losses_of(embedded.frozen, head, 0, progress)
    tag = head.__struct_config__.tag if head else "default"
    changed = msgspec.structs.replace(recipe, backbone=name, head=head)
    return Trial(f"{name}, {tag} head", changed, embedded, losses[:, None], monotonic() - began)


def repeated(trial: Trial, progress: Progress) -> Trial:
    """The trial with one more repetition of its cross-validation, in other folds."""
    head = trial.recipe.head
    assert head is None or isinstance(head, ClassicHead)
    more = _losses_of(trial.embedded.frozen, head, trial.losses.shape[1], progress)
    return replace(trial, losses=np.column_stack([trial.losses, more]))


def joined_trial(
    recipe: Recipe, trials: Sequence[Trial], added: Embedded, progress: Progress
) -> Trial | None:
    """The trial of the best embeddings so far and those of `added`, concatenated.

    Repeated for each backbone, this is a greedy forward selection, as of Caruana et al. 2004, of embeddings
    instead of models: one head is fitted on all of them. None if these can't be joined.
    """
    if must_be_fitted(added.frozen.backbone):
        return None
    joinable = [
        trial
        for trial in trials
        if not must_be_fitted(trial.embedded.frozen.backbone)
        and trial.recipe.head is None
        and trial.embedded is not added
        and len(trial.embedded.names) < MOST_MEMBERS
    ]
    if not joinable:
        return None
    best = min(joinable, key=lambda trial: trial.loss)
    return run_trial(recipe, best.embedded.joined(added), None, progress)


def losses_of(frozen: Frozen, outputs: Array, targets: Array) -> Array:
    """Loss (N,) of each example; of classes at the best temperature."""
    criterion = frozen.task.criterion
    outputs = outputs.astype(np.float64)
    if criterion.layout == CLASSES and len(outputs):
        outputs = outputs / fit_temperature(outputs, targets)
    found: Array = criterion.losses(outputs, targets, np.ones(len(targets))).astype(np.float64)
    return found


def _losses_of(frozen: Frozen, head: ClassicHead | None, repetition: int, progress: Progress) -> Array:
    """Out-of-fold losses (N,) of training, then validation examples; NaN where none was held out."""
    plan = frozen.plan if head is None else frozen.plan.with_head(head)
    recipe = msgspec.structs.replace(plan.recipe, seed=(plan.recipe.seed + repetition) % 2**32)
    given = replace(frozen, plan=replace(plan, recipe=recipe))
    if head is None and has_few_examples(given):
        _, fitted = fit_few_shot(given, progress)
    else:
        fitted = fit_frozen_head(given, True, progress)
    found = np.full(len(frozen.train) + len(frozen.valid), np.nan)
    if len(fitted.held_out):
        found[fitted.held_out_rows] = losses_of(frozen, fitted.held_out, fitted.held_out_targets)
    return found
