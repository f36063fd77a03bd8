"""How well scores put what is relevant first: average precision, along examples or along labels.

Schapire & Singer, BoosTexter, Machine Learning 39, 2000, section 5, has the measures along labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers, ratio


@dataclass(frozen=True)
class Ranking:
    """Lists of items, each by score, the highest first.

    `order` (R, M) has the items of each list in that order, `relevant` (R, M) bool says which of them ought
    to be first, and `last` (R, M) is where the items with the same score end: they count as one rank.
    """

    order: Integers
    relevant: npt.NDArray[np.bool_]
    last: Integers


def ranking(scores: Floats, relevant: npt.NDArray[np.bool_]) -> Ranking:
    """Each row of `scores` (R, M) as a list."""
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    ends = np.ones(scores.shape, bool)
    ends[:, :-1] = sorted_scores[:, 1:] != sorted_scores[:, :-1]
    beyond = np.where(ends, places, scores.shape[1])
    last = np.minimum.accumulate(beyond[:, ::-1], axis=1)[:, ::-1]
    return Ranking(order, np.take_along_axis(relevant, order, axis=1), last)


def average_precision(ranked: Ranking) -> Floats:
    """(R,) the mean, over the relevant items of a list, of the share of relevant ones down to them.

    The area under the curve of precision over recall, without interpolation; 0 if nothing is relevant.
    """
    found = _found(ranked)
    precision = np.where(ranked.relevant, found / (ranked.last + 1), 0.0)
    return ratio(precision.sum(axis=1), ranked.relevant.sum(axis=1))


def label_ranking_average_precision(ranked: Ranking) -> Floats:
    """(R,) average precision of the labels of each example; 1 where no label, or each, belongs to it."""
    relevant = ranked.relevant.sum(axis=1)
    decided = (relevant > 0) & (relevant < ranked.relevant.shape[1])
    return np.where(decided, average_precision(ranked), 1.0)


def ranking_loss(ranked: Ranking) -> Floats:
    """(R,) of the pairs of a label that belongs and one that doesn't, the share in the wrong order.

    Equal scores are wrong; 0 where there is no such pair.
    """
    relevant = ranked.relevant.sum(axis=1)
    ahead = np.where(ranked.relevant, ranked.last + 1 - _found(ranked), 0).sum(axis=1)
    return ratio(ahead, relevant * (ranked.relevant.shape[1] - relevant))


def resampled_average_precision(ranked: Ranking, counts: npt.NDArray[Any]) -> Floats:
    """(B, R) the same where item m counts `counts[b, m]` times, (B, M); 0 if nothing relevant is left."""
    found = np.empty((len(counts), len(ranked.order)))
    for row, (order, relevant, last) in enumerate(
        zip(ranked.order, ranked.relevant, ranked.last, strict=True)
    ):
        weight = np.take(counts, order, axis=1)
        hits = np.flatnonzero(relevant)
        own = np.take(weight, hits, axis=1)
        # Down to the end of each relevant item's rank: all items, and the relevant ones among them.
        items = np.take(np.cumsum(weight, axis=1), last[hits], axis=1)
        so_far = np.cumsum(own, axis=1)[:, np.searchsorted(hits, last[hits], side="right") - 1]
        found[:, row] = ratio((own * ratio(so_far, items)).sum(axis=1), own.sum(axis=1))
    return found


def _found(ranked: Ranking) -> Integers:
    """(R, M) the relevant items down to the end of each item's rank."""
    so_far: Integers = np.cumsum(ranked.relevant, axis=1)
    return np.take_along_axis(so_far, ranked.last, axis=1)
