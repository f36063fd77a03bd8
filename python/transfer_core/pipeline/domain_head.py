"""Steps 3 and 4 with a source domain: weights, adaptation, and the heads that the result is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transfer_core.heads import Head, HeadFit
from transfer_core.pipeline.adaptation import fit_adapted
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.automatic_adaptation import choose_adaptation
from transfer_core.pipeline.deep_adaptation import check_deep
from transfer_core.pipeline.frozen_head import fit_best, fit_frozen_head, with_and_without_views
from transfer_core.pipeline.instance_weights import weighted
from transfer_core.runtime.progress import Progress
from transfer_core.training.checkpointer import Checkpointer


def prepared(frozen: Frozen, with_valid: bool, progress: Progress) -> Frozen:
    """`frozen` with weights of its source, and with the heads of each domain alone, to compare with.

    Parameters
    ----------
    frozen
        Embeddings of both domains.
    with_valid, progress
        As for `fit_frozen_head`.

    Raises
    ------
    RecipeError
        If a method does not go with the task, or the target has no inputs.
    """
    recipe, plan = frozen.plan.recipe, frozen.plan
    if recipe.adapt and plan.changes_backbone:
        check_deep(frozen)
    frozen = replace(frozen, compared=_compared(frozen, with_valid, progress))
    return weighted(frozen, recipe.weigh, progress) if recipe.weigh else frozen


def fit_domain_head(
    frozen: Frozen, with_valid: bool, progress: Progress, checkpointer: Checkpointer
) -> tuple[Frozen, HeadFit]:
    """Fit the head of a recipe with a source; if blocks of the backbone train later, without adaptation.

    Parameters
    ----------
    frozen
        The result of `prepared`.
    with_valid, progress, checkpointer
        As for `fit_frozen_head`.
    """
    recipe = frozen.plan.recipe
    if recipe.adapt is None or frozen.plan.changes_backbone:
        return fit_best(with_and_without_views(frozen), with_valid, progress, checkpointer)
    if recipe.adapt.method == "auto":
        plain = fit_frozen_head(frozen, with_valid, progress, checkpointer)
        chosen = choose_adaptation(frozen, plain, with_valid, progress)
        progress.warning(chosen.reason)
        return frozen, chosen.fitted
    return frozen, fit_adapted(frozen, recipe.adapt, with_valid, progress, checkpointer)


def _compared(frozen: Frozen, with_valid: bool, progress: Progress) -> dict[str, Head]:
    """Heads fitted on the source alone, and on the labelled examples of the target alone, if each has several
    targets; none without test examples."""
    if frozen.test is None or not len(frozen.test):
        return {}
    quiet = Progress(cancelled=progress.cancelled)
    found = {}
    for name, source in (("source_only", True), ("target_only", False)):
        alone = _alone(frozen, source)
        if len(np.unique(alone.splits.train.targets, axis=0)) > 1:
            found[name] = fit_frozen_head(alone, with_valid, quiet).head
    return found


def _alone(frozen: Frozen, source: bool) -> Frozen:
    """The training and validation examples of one domain."""
    splits = frozen.splits
    train, valid = (part.from_source == source for part in (splits.train, splits.valid))
    alone = replace(
        splits,
        train=splits.train.take(np.flatnonzero(train)),
        valid=splits.valid.take(np.flatnonzero(valid)),
    )
    return replace(
        frozen, splits=alone, train=frozen.train[train.repeat(frozen.views)], valid=frozen.valid[valid]
    )
