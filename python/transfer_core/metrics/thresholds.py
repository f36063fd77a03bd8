"""From which score on a label is said: for each label the threshold with the best F1 on held-out examples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats

UNDECIDED = 0.5


def best_thresholds(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> Floats:
    """(K,) thresholds; a label is said where its probability is at least that.

    Of the sorted scores of a label the first m are said, for the m with the highest F1 = 2 TP / (m + P), and
    of equals the smallest m; the threshold stands midway between the last that is said and the next. A label
    that no example has says nothing: its threshold is one half.

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
    return np.array([_best(scores[:, k], truth[:, k]) for k in range(scores.shape[1])])


def _best(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    positives = truth.sum()
    if positives == 0:
        return UNDECIDED
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + positives)
    f1[:-1][scores[1:] == scores[:-1]] = 0  # equal scores are said together
    said = int(f1.argmax())
    below = scores[said + 1] if said + 1 < len(scores) else 0.0
    return float((scores[said] + below) / 2)
