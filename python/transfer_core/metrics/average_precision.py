"""Average precision and recall of object detection; equal to pycocotools.

Precision is interpolated at 101 levels of recall: the precision at recall r is the highest at any recall of
at least r. Averages leave out classes without objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transfer_core.data.boxes import Boxes, Detections
from transfer_core.metrics.arrays import Floats, Integers
from transfer_core.metrics.box_matching import Columns, Matches, columns, match_pairs, overlapping

RECALLS: Floats = np.linspace(0, 1, 101)
# Square pixels.
SMALL, LARGE, ANY = 32.0**2, 96.0**2, 1e5**2
AREAS = {"all": (0.0, ANY), "small": (0.0, SMALL), "medium": (SMALL, LARGE), "large": (LARGE, ANY)}
# Detections of a class and image that average recall considers.
COUNTS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class CocoMetrics:
    """Metrics of N images.

    Attributes
    ----------
    precision
        Area range to (T, K, 101): interpolated precision at each IoU threshold, class and recall; NaN for
        classes without objects in that range.
    recall
        Number of detections to (T, K): highest recall; NaN as above.
    found, matches
        The columns, and the matches of all areas.
    """

    precision: dict[str, Floats]
    recall: dict[int, Floats]
    found: Columns
    matches: Matches

    def mean_precision(self, area: str = "all", threshold: int | None = None) -> float | None:
        """Mean over classes and recalls; over all IoU thresholds, or at the one with this index."""
        chosen = self.precision[area] if threshold is None else self.precision[area][threshold]
        return _mean(chosen)

    def mean_recall(self, count: int) -> float | None:
        """Mean over classes and IoU thresholds, with at most `count` detections per class and image."""
        return _mean(self.recall[count])


def coco_metrics(detections: Sequence[Detections], truth: Sequence[Boxes], classes: int) -> CocoMetrics:
    """Compute precision and recall of N images with K classes."""
    found = columns(detections, truth, classes)
    pairs = overlapping(found, 0.5)
    precision, recall = {}, {}
    matches = {name: match_pairs(found, pairs, *limits) for name, limits in AREAS.items()}
    for name, matched in matches.items():
        precision[name], most = _curves(found, matched)
        if name == "all":
            recall = {count: _curves(found, matched, count)[1] for count in COUNTS[:-1]}
            recall[COUNTS[-1]] = most
    return CocoMetrics(precision, recall, found, matches["all"])


def interpolated(right: Floats, wrong: Floats, objects: Floats, levels: Floats = RECALLS) -> Floats:
    """Precision at each level of recall, (..., R).

    Parameters
    ----------
    right, wrong
        (..., D) cumulated counts of right and wrong detections, by descending score.
    objects
        (...) counts of objects, above 0.
    levels
        (R,) ascending levels of recall.
    """
    total = right + wrong
    precision = np.divide(right, total, out=np.zeros(right.shape), where=total > 0)
    highest = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    recall = right / objects[..., None]
    flat = np.zeros((int(np.prod(right.shape[:-1])), len(levels)))
    shape = len(flat), right.shape[-1]
    pairs = zip(recall.reshape(shape), highest.reshape(shape), strict=True)
    for row, (own, best) in enumerate(pairs):
        places = np.searchsorted(own, levels, "left")
        within = places < len(own)
        flat[row, within] = best[places[within]]
    return flat.reshape(*right.shape[:-1], len(levels))


def by_score(found: Columns) -> Iterator[Integers]:
    """The detections of each class by descending score, in the order of the images where equal."""
    order = np.lexsort((np.arange(len(found.scores)), -found.scores, found.kind))
    bounds = np.searchsorted(found.kind[order], np.arange(found.classes + 1))
    for start, end in pairwise(bounds):
        yield order[start:end]


def _curves(found: Columns, matched: Matches, most: int | None = None) -> tuple[Floats, Floats]:
    """Precision (T, K, R) and recall (T, K)."""
    thresholds = matched.true_of.shape[1]
    precision = np.full((thresholds, found.classes, len(RECALLS)), np.nan)
    recall = np.full((thresholds, found.classes), np.nan)
    objects = np.bincount(found.true_kind[matched.counted], minlength=found.classes)
    for kind, rows in enumerate(by_score(found)):
        if not objects[kind]:
            continue
        rows = rows if most is None else rows[found.rank[rows] < most]
        hit, counts = (matched.true_of[rows] >= 0).T, ~matched.ignored[rows].T  # (T, D)
        right = np.cumsum(hit & counts, axis=1, dtype=np.float64)
        wrong = np.cumsum(~hit & counts, axis=1, dtype=np.float64)
        precision[:, kind] = interpolated(right, wrong, np.full(thresholds, float(objects[kind])))
        recall[:, kind] = right[:, -1] / objects[kind] if len(rows) else 0.0
    return precision, recall


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
