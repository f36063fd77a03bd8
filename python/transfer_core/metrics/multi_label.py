"""Metrics of multi-label classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, as_label_sets, as_matrix, check_same_length, ratio
from transfer_core.metrics.bootstrap import RESAMPLES, interval, resampled_counts
from transfer_core.metrics.ranking import (
    Ranking,
    average_precision,
    label_ranking_average_precision,
    ranking,
    ranking_loss,
    resampled_average_precision,
)

# Resamples × examples × labels, about a second of work; larger data gets fewer resamples.
MOST_RESAMPLED = 200_000_000
FEWEST_RESAMPLES = 200


def multi_label_metrics(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    labels: Sequence[str],
    thresholds: npt.ArrayLike,
    shares: npt.ArrayLike,
    seed: int,
) -> dict[str, Any]:
    """Compute the metrics of a multi-label model; equal to scikit-learn's with `zero_division=0`.

    Parameters
    ----------
    probabilities
        (N, K), independent: a row need not sum to 1.
    targets
        (N, K) bool, the truth; a row may be empty.
    labels
        K names.
    thresholds
        (K,): a label is predicted if its probability is at least its threshold.
    shares
        (K,) share of the training examples with each label; the baseline scores every example with these.
    seed
        Seed of the bootstrap behind `intervals`.

    Returns
    -------
    `mean_average_precision`, `micro_f1`, `macro_f1`, `exact_match`, `label_ranking_average_precision`,
    `ranking_loss`, `log_loss`, `per_label`, `baseline`, `intervals` and `examples`: floats, integers,
    strings, lists and dicts, never NaN. Means over labels leave out labels without positive examples;
    `macro_f1` leaves them out only if they are never predicted either.

    Raises
    ------
    ValueError
        Wrong shapes, no examples, or numbers that are not probabilities.

    Examples
    --------
    >>> found = multi_label_metrics(
    ...     [[0.9, 0.2], [0.8, 0.7], [0.1, 0.6]], [[1, 0], [0, 1], [0, 0]], ["cat", "dog"],
    ...     thresholds=[0.5, 0.5], shares=[0.3, 0.3], seed=0)
    >>> found["mean_average_precision"], round(found["micro_f1"], 3)
    (1.0, 0.667)
    """
    width = len(labels)
    scores = as_matrix(probabilities, width, "probabilities")
    truth = as_label_sets(targets, width, "targets")
    check_same_length(scores, truth)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"probabilities must lie within 0 and 1, got {scores.min():g} to {scores.max():g}")
    cutoffs = np.asarray(thresholds, np.float64)
    predicted = scores >= cutoffs

    of_labels, of_examples = ranking(scores.T, truth.T), ranking(scores, truth)
    precisions = average_precision(of_labels)
    cells = _cells(predicted, truth)
    counts = cells.sum(axis=0)
    return {
        "mean_average_precision": float(_mean_of_present(precisions, truth.sum(axis=0))),
        "micro_f1": float(_micro_f1(counts)),
        "macro_f1": float(_macro_f1(counts)),
        "exact_match": float((predicted == truth).all(axis=1).mean()),
        "label_ranking_average_precision": float(label_ranking_average_precision(of_examples).mean()),
        "ranking_loss": float(ranking_loss(of_examples).mean()),
        "log_loss": _log_loss(scores, truth),
        "per_label": _per_label(counts, precisions, cutoffs, labels),
        "baseline": _baseline(truth, np.asarray(shares, np.float64)),
        "intervals": _intervals(of_labels, cells, label_ranking_average_precision(of_examples), seed),
        "examples": len(truth),
    }


def _cells(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Floats:
    """Sufficient statistics of every F1, (N, 3, K): true positives, predicted, true."""
    return np.stack([predicted & truth, predicted, truth], axis=1).astype(np.float64)


def _micro_f1(counts: Floats) -> Floats:
    """Micro-averaged F1, (...), from counts (..., 3, K): 2 TP / (predicted + true)."""
    hits, predicted, true = np.moveaxis(counts.sum(axis=-1), -1, 0)
    return ratio(2 * hits, predicted + true)


def _macro_f1(counts: Floats) -> Floats:
    """Macro-averaged F1, (...), from counts (..., 3, K), over labels that occur."""
    hits, predicted, true = np.moveaxis(counts, -2, 0)
    total = predicted + true
    return ratio(ratio(2 * hits, total).sum(axis=-1), (total > 0).sum(axis=-1))


def _mean_of_present(values: Floats, positives: npt.NDArray[Any]) -> Floats:
    """Mean over the last axis of the values of labels with positive examples."""
    return ratio(np.where(positives > 0, values, 0).sum(axis=-1), (positives > 0).sum(axis=-1))


def _log_loss(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """Mean binary cross-entropy over all examples and labels."""
    epsilon = np.finfo(np.float64).eps
    own = np.where(truth, scores, 1 - scores)
    return float(-np.log(own.clip(epsilon, 1 - epsilon)).mean())


def _per_label(
    counts: Floats, precisions: Floats, thresholds: Floats, labels: Sequence[str]
) -> list[dict[str, Any]]:
    hits, predicted, true = counts
    f1 = ratio(2 * hits, predicted + true)
    columns = (precisions, ratio(hits, predicted), ratio(hits, true), f1, thresholds)
    names = ("average_precision", "precision", "recall", "f1", "threshold")
    return [
        {"label": label, **dict(zip(names, row, strict=True)), "support": int(support)}
        for label, row, support in zip(
            labels, zip(*(c.tolist() for c in columns), strict=True), true, strict=True
        )
    ]


def _baseline(truth: npt.NDArray[np.bool_], shares: Floats) -> dict[str, float]:
    """Metrics of a constant model that scores every example with the training shares.

    With equal scores a label is predicted for all examples or for none; all has the higher F1.
    """
    same = np.broadcast_to(shares, truth.shape)
    counts = _cells(np.ones_like(truth), truth).sum(axis=0)
    precisions = average_precision(ranking(same.T, truth.T))
    return {
        "mean_average_precision": float(_mean_of_present(precisions, truth.sum(axis=0))),
        "micro_f1": float(_micro_f1(counts)),
        "macro_f1": float(_macro_f1(counts)),
        "label_ranking_average_precision": float(
            label_ranking_average_precision(ranking(same, truth)).mean()
        ),
    }


def _intervals(of_labels: Ranking, cells: Floats, per_example: Floats, seed: int) -> dict[str, list[float]]:
    n, width = len(cells), len(of_labels.order)
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_RESAMPLED // (n * width)))
    found = []
    for drawn in resampled_counts(np.arange(n), seed, resamples):
        times = drawn.astype(np.float64)  # NumPy multiplies mixed types without BLAS
        counts = (times @ cells.reshape(n, -1)).reshape(-1, 3, width)
        precisions = resampled_average_precision(of_labels, drawn)
        found.append(
            (
                _mean_of_present(precisions, counts[:, 2]),
                _micro_f1(counts),
                _macro_f1(counts),
                times @ per_example / n,
            )
        )
    names = ("mean_average_precision", "micro_f1", "macro_f1", "label_ranking_average_precision")
    return {
        name: interval(np.concatenate(part))
        for name, part in zip(names, zip(*found, strict=True), strict=True)
    }
