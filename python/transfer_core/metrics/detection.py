"""Metrics of object detection: COCO's, per class, a baseline, intervals and the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.boxes import Boxes, Detections, detections_of
from transfer_core.metrics.arrays import Floats, Integers, ratio
from transfer_core.metrics.average_precision import (
    COUNTS,
    RECALLS,
    CocoMetrics,
    by_score,
    coco_metrics,
    interpolated,
)
from transfer_core.metrics.bootstrap import RESAMPLES, interval, resampled_counts

# Points of a precision-recall curve: every fifth level of recall.
_CURVE = slice(None, None, 5)
_WORST = 10
# Curves, and detections times resamples, of the bootstrap: about two seconds of work each.
_MOST_CURVES, _MOST_RESAMPLED, _FEWEST_RESAMPLES = 100_000, 10_000_000, 100
# Index of the IoU threshold 0.75; 0.5 is the first.
_AT_75 = 5


def detection_metrics(
    detections: Sequence[Detections],
    truth: Sequence[Boxes],
    labels: Sequence[str],
    thresholds: npt.ArrayLike,
    typical: npt.ArrayLike,
    shares: npt.ArrayLike,
    seed: int,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute the metrics of a detector; averages equal those of pycocotools.

    Parameters
    ----------
    detections
        Of N images, before thresholds are applied.
    truth
        The true boxes of N images.
    labels
        K names of classes.
    thresholds
        (K,): `precision`, `recall`, `f1` and `worst` consider boxes whose score is at least the threshold of
        their class, at an IoU of 0.5.
    typical
        (K, 4): the baseline's box of each class, centre x, centre y, width and height as shares of the image.
    shares
        (K,): the baseline's score of each class.
    seed
        Seed of the bootstrap over images behind `intervals`.
    names
        Names of the images. Default: their numbers.

    Returns
    -------
    `average_precision` (at IoU 0.5 to 0.95), `average_precision_50` and `_75`, `average_precision_small`,
    `_medium` and `_large` (areas up to 32² and 96² pixels), `average_recall_1`, `_10` and `_100`,
    `precision`, `recall`, `f1`, `per_class`, `baseline`, `intervals`, `worst`, `boxes` and `examples`.
    An average over no object is None.

    Raises
    ------
    ValueError
        Lengths differ, or there are no images.

    Examples
    --------
    >>> from transfer_core.data.boxes import boxes_of, detections_of
    >>> truth = [boxes_of([[0, 0, 10, 10]], [0])]
    >>> found = [detections_of([[0, 0, 10, 8]], [0], [0.9])]
    >>> metrics = detection_metrics(found, truth, ["stop"], [0.5], [[0.5, 0.5, 1, 1]], [1.0], seed=0)
    >>> metrics["average_precision_50"], round(metrics["average_precision"], 3)
    (1.0, 0.7)
    """
    if len(detections) != len(truth) or not len(truth):
        raise ValueError(f"one detection result per image is needed, got {len(detections)} for {len(truth)}")
    coco = coco_metrics(detections, truth, len(labels))
    cutoffs = np.asarray(thresholds, np.float64)
    counts = _counts(coco, cutoffs)
    hits, predicted, true = (counts[name].sum() for name in ("hits", "predicted", "true"))
    return {
        "average_precision": coco.mean_precision(),
        "average_precision_50": coco.mean_precision(threshold=0),
        "average_precision_75": coco.mean_precision(threshold=_AT_75),
        **{f"average_precision_{area}": coco.mean_precision(area) for area in ("small", "medium", "large")},
        **{f"average_recall_{count}": coco.mean_recall(count) for count in COUNTS},
        "precision": float(ratio(hits, predicted)),
        "recall": float(ratio(hits, true)),
        "f1": float(ratio(2 * hits, predicted + true)),
        "per_class": _per_class(coco, counts, cutoffs, labels),
        "baseline": _baseline(truth, len(labels), np.asarray(typical), np.asarray(shares)),
        "intervals": _intervals(coco, seed),
        "worst": _worst(coco, cutoffs, names or [str(number) for number in range(len(truth))]),
        "boxes": int(true),
        "examples": len(truth),
    }


def baseline_detections(truth: Sequence[Boxes], typical: Floats, shares: Floats) -> list[Detections]:
    """One box per class in each image, at the mean place and of the mean size of the training boxes."""
    classes = np.arange(len(typical))
    corners = np.hstack([typical[:, :2] - typical[:, 2:] / 2, typical[:, :2] + typical[:, 2:] / 2])
    return [detections_of(corners * np.tile(boxes.size, 2), classes, shares) for boxes in truth]


def _counts(coco: CocoMetrics, cutoffs: Floats) -> dict[str, Integers]:
    """Per class at IoU 0.5: detections above the threshold, those among them that are right, and objects."""
    found, matches = coco.found, coco.matches
    above = (found.scores >= cutoffs[found.kind]) & ~matches.ignored[:, 0]
    right = above & (matches.true_of[:, 0] >= 0)
    return {
        "hits": np.bincount(found.kind[right], minlength=found.classes),
        "predicted": np.bincount(found.kind[above], minlength=found.classes),
        "true": np.bincount(found.true_kind[matches.counted], minlength=found.classes),
    }


def _per_class(
    coco: CocoMetrics, counts: dict[str, Integers], cutoffs: Floats, labels: Sequence[str]
) -> list[dict[str, Any]]:
    hits, predicted, true = counts["hits"], counts["predicted"], counts["true"]
    precision, recall = ratio(hits, predicted), ratio(hits, true)
    f1 = ratio(2 * hits, predicted + true)
    rows = []
    for kind, label in enumerate(labels):
        curves = coco.precision["all"][:, kind]
        known = bool(true[kind])
        rows.append(
            {
                "label": label,
                "average_precision": float(curves.mean()) if known else None,
                "average_precision_50": float(curves[0].mean()) if known else None,
                "precision": float(precision[kind]),
                "recall": float(recall[kind]),
                "f1": float(f1[kind]),
                "threshold": float(cutoffs[kind]),
                "support": int(true[kind]),
                "curve": np.stack([RECALLS, curves[0]], axis=1)[_CURVE].tolist() if known else [],
            }
        )
    return rows


def _baseline(truth: Sequence[Boxes], classes: int, typical: Floats, shares: Floats) -> dict[str, Any]:
    coco = coco_metrics(baseline_detections(truth, typical, shares), truth, classes)
    return {
        "average_precision": coco.mean_precision(),
        "average_precision_50": coco.mean_precision(threshold=0),
    }


def _worst(coco: CocoMetrics, cutoffs: Floats, names: Sequence[str]) -> list[dict[str, Any]]:
    """The images with the most missed and wrong boxes."""
    found, matches = coco.found, coco.matches
    above = found.scores >= cutoffs[found.kind]
    taken = matches.true_of[:, 0]
    wrong = above & (taken < 0) & ~matches.ignored[:, 0]
    missed = matches.counted.copy()
    missed[taken[above & (taken >= 0)]] = False
    wrong_count = np.bincount(found.image[wrong], minlength=found.images)
    missed_count = np.bincount(found.true_image[missed], minlength=found.images)
    order = np.argsort(-(wrong_count + missed_count), kind="stable")[:_WORST]
    return [
        {"image": names[row], "missed": int(missed_count[row]), "wrong": int(wrong_count[row])}
        for row in order
        if missed_count[row] + wrong_count[row]
    ]


def _intervals(coco: CocoMetrics, seed: int) -> dict[str, list[float]]:
    """95 % intervals of the averages over resampled images; empty without objects."""
    found, matches = coco.found, coco.matches
    objects = np.bincount(found.true_kind[matches.counted], minlength=found.classes)
    present = [(kind, rows) for kind, rows in enumerate(by_score(found)) if objects[kind]]
    if not present:
        return {}
    levels = matches.true_of.shape[1]
    work = max(levels * len(present) / _MOST_CURVES, len(found.scores) / _MOST_RESAMPLED)
    resamples = min(RESAMPLES, max(_FEWEST_RESAMPLES, int(1 / work)))
    values = [
        _resampled(coco, present, drawn.astype(np.float64))
        for drawn in resampled_counts(np.arange(found.images), seed, resamples)
    ]
    resampled = np.concatenate(values)  # (resamples, T)
    known = ~np.isnan(resampled).any(axis=1)
    if not known.any():
        return {}
    return {
        "average_precision": _unbiased(resampled[known].mean(axis=1), coco.mean_precision()),
        "average_precision_50": _unbiased(resampled[known, 0], coco.mean_precision(threshold=0)),
    }


def _unbiased(resampled: Floats, value: float | None) -> list[float]:
    """The interval, moved to have its mean at the metric: images that are drawn twice raise precision."""
    shifted = resampled + (value or 0.0) - resampled.mean()
    return interval(shifted.clip(0, 1))


def _resampled(coco: CocoMetrics, present: Sequence[tuple[int, Integers]], times: Floats) -> Floats:
    """Mean average precision (B, T) where image n occurs `times` (B, N); NaN where no object is drawn."""
    found, matches = coco.found, coco.matches
    sums = np.zeros((len(times), matches.true_of.shape[1]))
    classes = np.zeros(len(times))
    for kind, rows in present:
        own = matches.counted & (found.true_kind == kind)
        objects = times[:, found.true_image[own]].sum(axis=1)
        drawn = objects > 0
        classes += drawn
        weights = times[drawn][:, found.image[rows]]  # (B, D)
        cumulated = np.cumsum(weights, axis=1)
        for level in range(sums.shape[1]):
            ignored = matches.ignored[rows, level]
            hits = np.flatnonzero(~ignored & (matches.true_of[rows, level] >= 0))
            if not len(hits):
                continue
            # Precision is highest where a detection is right.
            right = np.cumsum(weights[:, hits], axis=1)
            total = cumulated[:, hits]
            if ignored.any():
                total = total - np.cumsum(weights * ignored, axis=1)[:, hits]
            precision = interpolated(right, total - right, objects[drawn])
            sums[drawn, level] += precision.mean(axis=-1)
    means = np.full(sums.shape, np.nan)
    means[classes > 0] = sums[classes > 0] / classes[classes > 0, None]
    return means
