"""Fit the novelty detector of a model on its training examples, and measure it."""

from __future__ import annotations

import numpy as np

from transfer_core.heads.novelty import MOST_EXAMPLES, Novelty, fit_novelty, novelty_metrics
from transfer_core.heads.rehearsal import MOST_HELD_OUT, Rehearsal, with_targets
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.pipeline.embedding import embed
from transfer_core.pipeline.gallery import gallery_of
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES, Array


def detect_novelty(
    frozen: Frozen, trained: Tuned, progress: Progress
) -> tuple[Novelty | None, dict[str, float]]:
    """The novelty detector of a trained model, and its metrics on the test examples.

    It also stores targets and test examples, for a continued training, and names, texts and thumbnails. A
    fine-tuned backbone embeds some examples of each part once more, and those of validation calibrate. Its
    detector is not measured.
    """
    splits, seed = frozen.splits, frozen.plan.recipe.seed
    roots = splits.modality.name != "table"
    generator = np.random.default_rng(seed)
    if trained.backbone_changed:
        return _of_changed_backbone(frozen, generator, roots, progress), {}
    rows = generator.permutation(len(splits.train) + len(splits.valid))[: 2 * MOST_EXAMPLES]
    pool = splits.train.joined(splits.valid)
    known = _embeddings(frozen, rows)
    targets, digests = pool.targets[rows], [pool.digests[row] for row in rows]
    test = splits.test
    held_out = _test_embeddings(frozen, progress) if len(test) else known[:0]
    was_tuned = frozen.base is not None and frozen.base.header.backbone.fine_tuned
    # Embeddings that the backbone was trained on are closer to each other than new ones.
    calibrating = held_out if was_tuned and len(held_out) else None
    novelty = fit_novelty(known, [pool.groups[row] for row in rows], roots, calibrating)
    if novelty is None:
        return None, {}
    count = len(pool)
    if frozen.base and isinstance(frozen.base.novelty, Rehearsal):
        count += int(frozen.base.novelty.counts[0]) - len(frozen.base.novelty.examples)
    stored = with_targets(novelty, targets, digests, count, held_out, test.targets, test.digests)
    stored = gallery_of(stored, frozen, [pool.inputs[row] for row in rows], digests, trained.penalty)
    if not len(test) or was_tuned:
        return stored, {}
    if frozen.task.criterion.layout != CLASSES:
        return stored, novelty_metrics(stored, held_out, None, None)
    return stored, novelty_metrics(stored, held_out, test.targets, targets[: len(stored.examples)])


def _of_changed_backbone(
    frozen: Frozen, generator: np.random.Generator, roots: bool, progress: Progress
) -> Rehearsal | None:
    splits = frozen.splits
    train = splits.train.take(generator.permutation(len(splits.train))[:MOST_EXAMPLES])
    valid = splits.valid.take(range(min(len(splits.valid), MOST_EXAMPLES)))
    if not len(valid):
        return None
    test = splits.test.take(generator.permutation(len(splits.test)))
    some = test.take(range(min(len(test), MOST_HELD_OUT)))
    found = embed(frozen, [(train, 1), (valid, 1), (some, 1)], None, progress)
    known, calibrating, held_out = np.split(np.asarray(found.embeddings), np.cumsum([len(train), len(valid)]))
    novelty = fit_novelty(known, train.groups, roots, calibrating)
    if novelty is None:
        return None
    examples = train.targets, train.digests, len(splits.train)
    stored = with_targets(novelty, *examples, held_out, some.targets, test.digests)
    return gallery_of(stored, frozen, train.inputs, train.digests)


def _test_embeddings(frozen: Frozen, progress: Progress) -> Array:
    if frozen.test is not None:
        return np.asarray(frozen.test)
    return np.asarray(embed(frozen, [(frozen.splits.test, 1)], None, progress).embeddings)


def _embeddings(frozen: Frozen, rows: Array) -> Array:
    """Embeddings of training, then validation examples, without random views."""
    first, count = np.asarray(frozen.train)[:: frozen.views], len(frozen.splits.train)
    found = np.empty((len(rows), first.shape[1]), np.float32)
    of_train = rows < count
    found[of_train] = first[rows[of_train]]
    found[~of_train] = np.asarray(frozen.valid)[rows[~of_train] - count]
    return found
