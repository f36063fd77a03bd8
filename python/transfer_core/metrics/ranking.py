"""Ranking metrics: average precision, label ranking average precision, ranking loss.

The metrics along labels are those of Schapire & Singer, BoosTexter, Machine Learning 39, 2000, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers, ratio


@dataclass(frozen=True)
class Ranking:
    """Items of R lists, sorted by descending score.

    Attributes
    ----------
    order
        (R, M) item numbers, highest score first.
    relevant
        (R, M) bool, the relevance of each item in that order.
    last
        (R, M) the last position with the same score: tied items share a rank.
    """

    order: Integers
    relevant: npt.NDArray[np.bool_]
    last: Integers


def ranking(scores: Floats, relevant: npt.NDArray[np.bool_]) -> Ranking:
    """Rank the items of each row of `scores` (R, M)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    ends = np.ones(scores.shape, bool)
    ends[:, :-1] = sorted_scores[:, 1:] != sorted_scores[:, :-1]
    beyond = np.where(ends, places, scores.shape[1])
    last = np.minimum.accumulate(beyond[:, ::-1], axis=1)[:, ::-1]
    return Ranking(order, np.take_along_axis(relevant, order, axis=1), last)


def average_precision(ranked: Ranking) -> Floats:
    """Average precision, (R,): the mean precision at the rank of each relevant item.

    The area under the precision-recall curve without interpolation; 0 if nothing is relevant.
    """
    found = _found(ranked)
    precision = np.where(ranked.relevant, found / (ranked.last + 1), 0.0)
    return ratio(precision.sum(axis=1), ranked.relevant.sum(axis=1))


def label_ranking_average_precision(ranked: Ranking) -> Floats:
    """Label ranking average precision of each example, (R,); 1 where none or all of its labels are true."""
    relevant = ranked.relevant.sum(axis=1)
    decided = (relevant > 0) & (relevant < ranked.relevant.shape[1])
    return np.where(decided, average_precision(ranked), 1.0)


def ranking_loss(ranked: Ranking) -> Floats:
    """Ranking loss, (R,): the share of (relevant, irrelevant) pairs in the wrong order.

    Ties count as wrong; 0 where there is no such pair.
    """
    relevant = ranked.relevant.sum(axis=1)
    ahead = np.where(ranked.relevant, ranked.last + 1 - _found(ranked), 0).sum(axis=1)
    return ratio(ahead, relevant * (ranked.relevant.shape[1] - relevant))


def resampled_average_precision(ranked: Ranking, counts: npt.NDArray[Any]) -> Floats:
    """Average precision of B resamples, (B, R), in which item m occurs `counts[b, m]` times, (B, M)."""
    found = np.empty((len(counts), len(ranked.order)))
    for row, (order, relevant, last) in enumerate(
        zip(ranked.order, ranked.relevant, ranked.last, strict=True)
    ):
        weight = np.take(counts, order, axis=1)
        hits = np.flatnonzero(relevant)
        own = np.take(weight, hits, axis=1)
        # Cumulative to the end of each relevant item's rank, because tied items share a rank.
        items = np.take(np.cumsum(weight, axis=1), last[hits], axis=1)
        so_far = np.cumsum(own, axis=1)[:, np.searchsorted(hits, last[hits], side="right") - 1]
        found[:, row] = ratio((own * ratio(so_far, items)).sum(axis=1), own.sum(axis=1))
    return found


def _found(ranked: Ranking) -> Integers:
    """Number of relevant items up to the end of each item's rank, (R, M)."""
    so_far: Integers = np.cumsum(ranked.relevant, axis=1)
    return np.take_along_axis(so_far, ranked.last, axis=1)
