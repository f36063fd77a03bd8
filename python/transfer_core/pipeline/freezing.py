"""Step 2 in detail: embed all examples once, and split again if images are near-duplicates."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from transfer_core.data import MODALITIES, DataSplits, left_over, naming_all
from transfer_core.features import FeatureStore, Views, fit_backbone
from transfer_core.features.check import undecodable
from transfer_core.features.fitted import must_be_fitted
from transfer_core.features.thumbnails import Seen
from transfer_core.pipeline.artifacts import Chosen, Frozen
from transfer_core.pipeline.embedding import embed
from transfer_core.pipeline.near_duplicates import apart
from transfer_core.recipe.augmentations import of_one_image
from transfer_core.runtime.progress import Progress


def embed_all(chosen: Chosen, progress: Progress) -> Frozen:
    """Embed all examples; near-duplicate images end up on one side of the split."""
    with _naming(chosen.splits, progress):
        chosen, seen = _with_fitted_backbone(chosen, progress)
    frozen = _embedded(chosen, seen, progress)
    if seen is None:
        return frozen
    splits = apart(frozen, seen, progress)
    if splits.parts == frozen.splits.parts:
        return replace(frozen, splits=splits)
    return _embedded(replace(chosen, splits=splits), None, progress)


def embedded_anew(frozen: Frozen, progress: Progress) -> Frozen:
    """Replace the embeddings by those of the fine-tuned backbone."""
    splits = frozen.splits
    found = embed(frozen, [(splits.train, frozen.views), (splits.valid, 1)], None, progress)
    train, valid = np.split(np.asarray(found.embeddings), [len(frozen.train)])
    return replace(frozen, train=train, valid=valid)


def _embedded(chosen: Chosen, seen: Seen | None, progress: Progress) -> Frozen:
    """Embed all examples; thumbnails of decoded images are collected in `seen`.

    If the plan changes the backbone, test images are only decoded, so that damaged ones are reported before
    the training; beside a source domain, they are embedded for the heads that the result is compared with.
    """
    plan, splits = chosen.plan, chosen.splits
    views = Views(of_one_image(plan.recipe.augment)).count
    test_views = 0 if plan.changes_backbone and not splits.domains else 1
    parts = [(splits.train, views), (splits.valid, 1), (splits.test, test_views)]
    if splits.domains:
        parts.append((splits.domains.unlabelled, 1))
    inputs = sum(len(part) for part, rows in parts if rows)
    many = MODALITIES[chosen.backbone.facts.modality].many
    progress.stage("freeze", f"freeze it: embed {inputs} {many} once")
    with _naming(splits, progress):
        found = embed(chosen, parts, FeatureStore(), progress, seen)
        bad = dict(found.bad)
        if not test_views:
            bad |= undecodable(splits.test, chosen.backbone, plan.recipe.on_bad_input, progress, seen)
    if bad:
        splits = left_over(splits, bad)
    train_rows = len(splits.train) * views
    sizes = [train_rows, len(splits.valid), len(splits.test) if test_views else 0]
    train, valid, test, unlabelled = np.split(np.asarray(found.embeddings), np.cumsum(sizes))
    return Frozen(
        plan,
        chosen.backbone,
        splits,
        chosen.machine,
        base=chosen.base,
        state=plan.task.fit(splits.labels, splits.train),
        train=train,
        valid=valid,
        test=test if test_views else None,
        views=views,
        unlabelled=unlabelled,
    )


def _with_fitted_backbone(chosen: Chosen, progress: Progress) -> tuple[Chosen, Seen | None]:
    """Fit the backbone on the training inputs if it is of that kind; also return a collector of thumbnails if
    images are still to be compared."""
    recipe = chosen.plan.recipe
    seen: Seen | None = None
    if chosen.backbone.facts.modality == "image" and recipe.split.near_duplicates:
        seen = {}
    if chosen.base or not must_be_fitted(chosen.backbone):
        return chosen, seen
    if seen is not None:
        chosen, seen = replace(chosen, splits=apart(chosen, seen, progress)), None
    splits = chosen.splits
    backbone = fit_backbone(
        chosen.backbone, splits.train, splits.columns, recipe.on_bad_input, recipe.seed, progress
    )
    return replace(chosen, backbone=backbone.module()), seen


def _naming(splits: DataSplits, progress: Progress) -> AbstractContextManager[None]:
    """Report all undecodable inputs of `splits` in one error."""
    further = (splits.domains.unlabelled,) if splits.domains else ()
    return naming_all((splits.train, splits.valid, splits.test, *further), splits.modality, progress)
