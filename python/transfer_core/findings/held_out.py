"""Out-of-fold probabilities of every example, from a linear head on the embeddings."""

from __future__ import annotations

import numpy as np

from transfer_core.heads.cross_validated import COMPARED, MOST_FITS
from transfer_core.heads.folds import fold_of, weights_without
from transfer_core.heads.heartbeat import Heartbeat
from transfer_core.heads.linear_problem import linear_problems
from transfer_core.heads.many_outputs import Part
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import scalings
from transfer_core.heads.strength_search import STRENGTHS, search_strength
from transfer_core.runtime.parallel import one_blas_thread
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array


def held_out_probabilities(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> Array:
    """Probabilities (N, K) of a cross-validated linear classifier; rows of a group share a fold.

    Parameters
    ----------
    rows
        N rows, one per example, of classes.
    outputs
        K classes.
    folds
        Number of folds.
    seed
        Seed of the folds.
    progress
        Progress events and cancellation.
    """
    heartbeat = Heartbeat(progress, "train", MOST_FITS, "fits")
    with one_blas_thread():
        search = search_strength(
            Part(rows, outputs), scalings(rows.features)[-1], folds, seed, COMPARED, heartbeat
        )
        fold = fold_of(rows, folds, seed)
        left_out = [np.flatnonzero(fold == k) for k in range(fold.max() + 1)]
        problems = linear_problems(
            rows, search.problems.at, weights_without(left_out, rows), outputs, heartbeat.check
        )
        layers = problems.solve(STRENGTHS[search.chosen], problems.zeros(), COMPARED)
        logits = np.empty((len(rows), outputs), np.float64)
        for layer, out in zip(layers, left_out, strict=True):
            logits[out] = problems.output(layer, out)
    heartbeat.finish()
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    probabilities: Array = odds / odds.sum(axis=1, keepdims=True)
    return probabilities
