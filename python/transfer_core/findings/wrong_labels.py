"""Candidates for wrong labels: improbable labels by held-out probabilities, and confident learning.

Northcutt, Jiang & Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.
https://arxiv.org/abs/1911.00068
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transfer_core.findings.examples import Examples, Finding
from transfer_core.tasks.criteria import Array

# Chosen on the quickstart's photos, confirmed on handwritten digits.
_RATIO, _MARGIN = 1 / 30, 0.75


def confident_labels(probabilities: Array, targets: Array) -> npt.NDArray[np.int64]:
    """The class that each example is confidently of; its given class if of none (section 3.1).

    Class j is confident for x if p(j | x) is at least the threshold t_j, the mean of p(j | x) over the
    examples that are labelled j. Of several, the most probable one counts.

    Parameters
    ----------
    probabilities
        (N, K), held out.
    targets
        (N,) given classes.

    Returns
    -------
    ndarray
        (N,) int64. An example is off the diagonal of the confident joint where it differs from `targets`.
    """
    classes = probabilities.shape[1]
    thresholds = np.array(
        [probabilities[targets == k, k].mean() if (targets == k).any() else np.inf for k in range(classes)]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(axis=1)
    found: npt.NDArray[np.int64] = np.where(confident.max(axis=1) >= 0, best, targets)
    return found


def wrong_labels(
    examples: Examples, probabilities: Array, targets: Array, labels: Sequence[str]
) -> list[Finding]:
    """Examples whose label is improbable, the most certain first.

    Off the diagonal of the confident joint there are also hard examples, most of them if data are few
    (benchmarks/NOTES.md). Such an example is a finding if its confident class is more probable than the given
    one by at least 0.75; so is any example whose label is less than a thirtieth as probable as the best one.

    Parameters
    ----------
    examples
        N examples.
    probabilities
        (N, K), held out.
    targets
        (N,) given classes.
    labels
        K names. A finding suggests the confident class, or the most probable one if that is the given class;
        its `score` is 1 minus the ratio of the probabilities.
    """
    rows = np.arange(len(targets))
    ratios = probabilities[rows, targets] / probabilities.max(axis=1)
    confident = confident_labels(probabilities, targets)
    suggested = np.where(confident != targets, confident, probabilities.argmax(axis=1))
    margins = probabilities[rows, confident] - probabilities[rows, targets]
    found = np.flatnonzero((ratios < _RATIO) | (margins >= _MARGIN))
    return [
        Finding(
            "wrong_label",
            f"held-out probability {probabilities[row, targets[row]]:.1%} of its label, "
            f"{probabilities[row, suggested[row]]:.1%} of the suggested one",
            examples.keys[row],
            examples.labels[row],
            labels[suggested[row]],
            float(1 - ratios[row]),
        )
        for row in found[np.argsort(ratios[found], kind="stable")].tolist()
    ]
