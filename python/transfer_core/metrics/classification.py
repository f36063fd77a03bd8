"""Metrics of single-label classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers, as_classes, as_matrix, check_same_length, ratio
from transfer_core.metrics.bootstrap import interval, resampled_counts
from transfer_core.metrics.calibration import expected_calibration_error

TOP = 5
MOST_CONFUSED = 3


def classification_metrics(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    labels: Sequence[str],
    train_targets: npt.ArrayLike,
    seed: int,
) -> dict[str, Any]:
    """Compute the metrics of a classifier; equal to scikit-learn's with `zero_division=0`.

    Parameters
    ----------
    probabilities
        (N, C), each row sums to 1. The predicted class is the first with the highest probability.
    targets
        (N,) class indices, the truth.
    labels
        C class names.
    train_targets
        (M,) class indices of the training examples; the baseline predicts the most frequent one.
    seed
        Seed of the bootstrap behind `intervals`.

    Returns
    -------
    `accuracy`, `balanced_accuracy`, `macro_f1`, `top_5_accuracy` (with more than 5 labels), `log_loss`,
    `ece`, `per_class`, `confusion_matrix`, `most_confused`, `baseline`, `intervals` and `examples`: floats,
    integers, strings, lists and dicts, never NaN.

    Raises
    ------
    ValueError
        Wrong shapes, no examples, or numbers that are not probabilities.

    Examples
    --------
    >>> scores = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]
    >>> metrics = classification_metrics(scores, [0, 1, 0, 1], ["cat", "dog"], [0, 0, 1], seed=0)
    >>> metrics["accuracy"], metrics["baseline"], metrics["most_confused"]
    (0.75, {'label': 'cat', 'accuracy': 0.5}, [{'truth': 'dog', 'predicted': 'cat', 'count': 1}])
    """
    classes = len(labels)
    scores = as_matrix(probabilities, classes, "probabilities")
    truth = as_classes(targets, classes, "targets")
    trained = as_classes(train_targets, classes, "train_targets")
    check_same_length(scores, truth)
    _check_probabilities(scores)

    predicted = scores.argmax(axis=1)
    confusion = _confusion(truth, predicted, classes)
    hits, support, predictions = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "accuracy": float(hits.sum() / len(truth)),
        "balanced_accuracy": float(ratio(hits, support)[support > 0].mean()),
        "macro_f1": float(_macro_f1(hits, support + predictions)),
        **({"top_5_accuracy": _top_accuracy(scores, truth, TOP)} if classes > TOP else {}),
        "log_loss": _log_loss(scores, truth),
        "ece": expected_calibration_error(scores, truth),
        "per_class": _per_class(hits, support, predictions, labels),
        "confusion_matrix": confusion.tolist(),
        "most_confused": _most_confused(confusion, labels),
        "baseline": _baseline(trained, support, labels),
        "intervals": _intervals(truth, predicted, classes, seed),
        "examples": len(truth),
    }


def _check_probabilities(scores: Floats) -> None:
    sums = scores.sum(axis=1)
    if scores.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "probabilities must not be negative and each row must sum to 1, "
            f"got values from {scores.min():g} and sums from {sums.min():g} to {sums.max():g}"
        )


def _confusion(truth: Integers, predicted: Integers, classes: int) -> Integers:
    """(C, C) counts: row = truth, column = prediction."""
    cells = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def _macro_f1(hits: Integers, appearances: Integers) -> Floats:
    """Mean F1 = 2 hits / appearances over the last axis, among classes that occur as target or prediction.

    `appearances` is support plus predictions: 2 TP + FP + FN.
    """
    return ratio(ratio(2 * hits, appearances).sum(axis=-1), (appearances > 0).sum(axis=-1))


def _top_accuracy(scores: Floats, truth: Integers, k: int) -> float:
    """Top-k accuracy; ties go to the first class, as in argmax."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    first = np.arange(scores.shape[1]) < truth[:, None]
    ahead = (scores > own) | ((scores == own) & first)
    return float((ahead.sum(axis=1) < k).mean())


def _log_loss(scores: Floats, truth: Integers) -> float:
    """Mean of -ln of the true class's probability, clipped to [ε, 1 - ε] with the float64 epsilon."""
    epsilon = np.finfo(np.float64).eps
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    return float(-np.log(own.clip(epsilon, 1 - epsilon)).mean())


def _per_class(
    hits: Integers, support: Integers, predictions: Integers, labels: Sequence[str]
) -> list[dict[str, Any]]:
    f1 = ratio(2 * hits, support + predictions)
    columns = (ratio(hits, predictions), ratio(hits, support), f1, support)
    return [
        {"label": label, "precision": precision, "recall": recall, "f1": f1, "support": count}
        for label, precision, recall, f1, count in zip(labels, *(c.tolist() for c in columns), strict=True)
    ]


def _most_confused(confusion: Integers, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent confusions; ties in the order of the labels."""
    errors = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-errors, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = zip(*np.unravel_index(order, errors.shape), strict=True)
    return [
        {"truth": labels[truth], "predicted": labels[predicted], "count": int(errors[truth, predicted])}
        for truth, predicted in pairs
        if errors[truth, predicted] > 0
    ]


def _baseline(trained: Integers, support: Integers, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy of always predicting the most frequent training class."""
    majority = int(np.bincount(trained).argmax())
    return {"label": labels[majority], "accuracy": float(support[majority] / support.sum())}


def _intervals(truth: Integers, predicted: Integers, classes: int, seed: int) -> dict[str, list[float]]:
    # Examples with the same target and prediction are interchangeable, so cells are drawn instead.
    cells, cell_of = np.unique(truth * classes + predicted, return_inverse=True)
    rows, columns = cells // classes, cells % classes
    hit = rows == columns
    accuracy, macro_f1 = [], []
    for counts in resampled_counts(cell_of, seed):
        hits = _sum_by_class(counts[:, hit], rows[hit], classes)
        appearances = _sum_by_class(counts, rows, classes) + _sum_by_class(counts, columns, classes)
        accuracy.append(hits.sum(axis=1) / len(truth))
        macro_f1.append(_macro_f1(hits, appearances))
    return {
        "accuracy": interval(np.concatenate(accuracy)),
        "macro_f1": interval(np.concatenate(macro_f1)),
    }


def _sum_by_class(counts: Integers, class_of: Integers, classes: int) -> Integers:
    """Sum the counts (B, cells) of the cells of each class; (B, C)."""
    sums = np.zeros((len(counts), classes), np.int64)
    order = np.argsort(class_of, kind="stable")
    present, starts = np.unique(class_of[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
