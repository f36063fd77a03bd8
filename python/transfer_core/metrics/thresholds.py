"""Decision thresholds of multi-label models: the threshold of each label that maximizes its F1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats

DEFAULT_THRESHOLD = 0.5


def best_thresholds(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> Floats:
    """Choose the threshold of each label, (K,), that maximizes its F1 on held-out examples.

    A label is predicted for the m examples with its highest scores, for the m with the highest
    F1 = 2 TP / (m + P), the smallest m on ties; the threshold is midway between the scores m and m + 1. The
    threshold of a label without positive examples is 0.5.

    Parameters
    ----------
    probabilities
        (N, K).
    targets
        (N, K) bool.

    References
    ----------
    Lipton, Elkan & Naryanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML 2014.

    Examples
    --------
    >>> best_thresholds([[0.9], [0.4], [0.2], [0.1]], [[True], [True], [False], [False]]).round(3).tolist()
    [0.3]
    """
    scores, truth = np.asarray(probabilities, np.float64), np.asarray(targets, bool)
    return np.array(
        [best_threshold(scores[:, k], truth[:, k], int(truth[:, k].sum())) for k in range(scores.shape[1])]
    )


def best_threshold(scores: Floats, truth: npt.NDArray[np.bool_], positives: int) -> float:
    """As `best_thresholds` for one label.

    Parameters
    ----------
    scores, truth
        (N,) of the examples that have a score.
    positives
        P, of which some may have no score.
    """
    if positives == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + positives)
    f1[:-1][scores[1:] == scores[:-1]] = 0  # no threshold separates equal scores
    last = int(f1.argmax())
    below = scores[last + 1] if last + 1 < len(scores) else 0.0
    return float((scores[last] + below) / 2)
