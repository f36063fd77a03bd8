"""Calibration of a detector on held-out images: scores, thresholds, and margins around boxes.

A detection is right if it takes a true box of its class at an IoU of at least 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.boxes import Boxes, Detections
from transfer_core.metrics.arrays import Floats, Integers
from transfer_core.metrics.average_precision import ANY
from transfer_core.metrics.box_matching import columns, match_pairs, overlapping
from transfer_core.metrics.conformal import LEVEL, conformal_quantile, mean_coverage
from transfer_core.metrics.thresholds import DEFAULT_THRESHOLD, best_threshold

_IOU = np.array([0.5])
_MOST_STEPS = 100
# Scores of exactly 0 or 1 have no finite logit.
EDGE = 1e-7


@dataclass(frozen=True, eq=False)
class HeldOut:
    """D detections on held-out images that count: score, class, and whether each is right; corners of the M
    right ones and of the true boxes that they take, both (M, 4); true boxes of each class, (K,)."""

    scores: Floats
    classes: Integers
    right: npt.NDArray[np.bool_]
    corners: Floats
    true_corners: Floats
    objects: Integers


def held_out(detections: Sequence[Detections], truth: Sequence[Boxes], classes: int) -> HeldOut:
    """Match the detections of N held-out images with the truth."""
    found = columns(detections, truth, classes)
    matches = match_pairs(found, overlapping(found, 0.5), 0.0, ANY, _IOU)
    counts = ~matches.ignored[:, 0]
    taken = matches.true_of[counts, 0]
    right = taken >= 0
    return HeldOut(
        found.scores[counts],
        found.kind[counts],
        right,
        found.corners[counts][right],
        found.true_corners[taken[right]],
        np.bincount(found.true_kind[matches.counted], minlength=classes),
    )


def fit_scores(scores: npt.ArrayLike, right: npt.ArrayLike) -> tuple[float, float]:
    """Fit slope and offset for which sigmoid(slope * logit(score) + offset) has the lowest log loss.

    Platt scaling with its smoothed targets, by Newton's method: 0 ≤ slope. Without a right or without a wrong
    detection the scores stay as they are: (1, 0).

    Parameters
    ----------
    scores
        (D,), 0 to 1.
    right
        (D,) bool.

    References
    ----------
    Platt, Probabilistic Outputs for Support Vector Machines, 1999; Küppers, Kronenberger, Shantia &
    Haselhoff, Multivariate Confidence Calibration for Object Detection, CVPR Workshops 2020.

    Examples
    --------
    >>> slope, offset = fit_scores([0.9] * 100, [True] * 60 + [False] * 40)
    >>> round(float(calibrated(0.9, slope, offset)), 1)
    0.6
    """
    truth = np.asarray(right, bool)
    hits = int(truth.sum())
    if hits in (0, len(truth)):
        return 1.0, 0.0
    x = _logit(np.asarray(scores, np.float64))
    target = np.where(truth, (hits + 1) / (hits + 2), 1 / (len(truth) - hits + 2))
    slope, offset = 1.0, 0.0
    loss = _loss(slope, offset, x, target)
    for _ in range(_MOST_STEPS):
        p = _sigmoid(slope * x + offset)
        gap, spread = p - target, p * (1 - p)
        gradient = np.array([(gap * x).sum(), gap.sum()])
        hessian = np.array([[(spread * x * x).sum(), (spread * x).sum()], [(spread * x).sum(), spread.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2) * max(1.0, float(hessian.trace())), gradient)
        scale = 1.0
        while scale > 1e-6:
            tried = max(0.0, slope - scale * step[0]), offset - scale * step[1]
            if (new := _loss(*tried, x, target)) < loss:
                break
            scale /= 2
        else:
            break
        slope, offset, loss = *tried, new
    return float(slope), float(offset)


def calibrated(scores: npt.ArrayLike, slope: float, offset: float) -> Floats:
    """Apply the result of `fit_scores`."""
    if (slope, offset) == (1.0, 0.0):
        return np.asarray(scores, np.float64)
    return _sigmoid(slope * _logit(np.asarray(scores, np.float64)) + offset)


def fit_thresholds(found: HeldOut) -> list[float]:
    """The threshold of each class that maximizes its F1 on held-out images; 0.5 if none is detected there."""
    thresholds = []
    for kind, objects in enumerate(found.objects.tolist()):
        own = found.classes == kind
        known = objects and found.right[own].any()
        best = best_threshold(found.scores[own], found.right[own], objects) if known else DEFAULT_THRESHOLD
        thresholds.append(best)
    return thresholds


def margins(corners: Floats, true_corners: Floats) -> list[float]:
    """Sorted nonconformity scores of M boxes: the share of its width or height by which a box must grow on
    each side to contain the true one.

    de Grancey, Adam, Alecu, Gerchinovitz, Mamalet & Vigouroux, Object Detection with Probabilistic
    Guarantees, SAFECOMP Workshops 2022; Andéol, Fel, de Grancey & Mossina, Confident Object Detection via
    Conformal Prediction, COPA 2023: box-wise and multiplicative, the largest margin of the four sides.

    Examples
    --------
    >>> margins(np.array([[10.0, 10, 30, 30]]), np.array([[8.0, 10, 30, 28]]))
    [0.1]
    """
    sides = np.tile(np.maximum(corners[:, 2:] - corners[:, :2], 1e-9), 2)
    beyond = np.hstack([corners[:, :2] - true_corners[:, :2], true_corners[:, 2:] - corners[:, 2:]])
    scores: list[float] = np.sort(np.maximum(beyond / sides, 0).max(axis=1, initial=0)).tolist()
    return scores


def grown(corners: Floats, margin: float) -> Floats:
    """Grow boxes by a share of their width and height on each side."""
    by = margin * np.tile(corners[:, 2:] - corners[:, :2], 2)
    outer: Floats = corners + by * np.array([-1, -1, 1, 1])
    return outer


def margin_metrics(
    corners: Floats, true_corners: Floats, scores: Sequence[float], seed: int, level: float = LEVEL
) -> dict[str, Any]:
    """Coverage of grown boxes: the share of M detected objects that lie within.

    Parameters
    ----------
    corners, true_corners
        (M, 4) detections that are right, and the true boxes that they take.
    scores
        Sorted nonconformity scores, see `margins`.
    seed
        Seed of the bootstrap behind `interval`.
    level
        The requested coverage, between 0 and 1.

    Returns
    -------
    `level`, `coverage` with its `interval`, `margin` as a share of the sides, and `calibrated_on`; empty if
    there are too few scores, or no object was detected.
    """
    margin = conformal_quantile(scores, level)
    if margin is None or not len(corners):
        return {}
    outer = grown(corners, margin)
    inside = (outer[:, :2] <= true_corners[:, :2]) & (outer[:, 2:] >= true_corners[:, 2:])
    covered = np.asarray(inside.all(axis=1), np.float64)
    return {
        "level": level,
        **mean_coverage(covered, seed),
        "margin": margin,
        "calibrated_on": len(scores),
    }


def _logit(scores: Floats) -> Floats:
    inside = scores.clip(EDGE, 1 - EDGE)
    logit: Floats = np.log(inside) - np.log1p(-inside)
    return logit


def _sigmoid(x: Floats) -> Floats:
    sigmoid: Floats = 0.5 * (1 + np.tanh(x / 2))
    return sigmoid


def _loss(slope: float, offset: float, x: Floats, target: Floats) -> float:
    z = slope * x + offset
    return float((np.logaddexp(0, z) - target * z).sum())
