"""Linear, support vector and nearest neighbor heads fitted by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_core.heads.classic_problems import (
    Check,
    per_column,
    problems_of,
    with_suitable_threads,
)
from transfer_core.heads.dense import DenseHead, folded, named
from transfer_core.heads.head import Head
from transfer_core.heads.neighbors import Neighbors
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import are_counts, standardization
from transfer_core.heads.support_vectors import SupportVectors
from transfer_core.recipe.heads import KnnHead, LogisticHead, SvmHead
from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Array

_MOST_STEPS = 1000


@with_suitable_threads
def logistic(spec: LogisticHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit `LogisticRegression` on standardized features, one per label."""
    from sklearn.linear_model import LogisticRegression

    z, mean, scale = _prepared(rows)
    weight, bias = np.zeros((outputs, z.shape[1])), np.zeros(outputs)
    for problem in problems_of(rows, outputs):
        check()
        columns = problem.columns
        if (certainty := problem.certainty) is not None:
            bias[columns] = certainty
            continue
        estimator = LogisticRegression(C=spec.c, max_iter=_MOST_STEPS, random_state=seed)
        fit = estimator.fit(z, problem.truth, problem.weights)
        weight[columns] = per_column(fit.coef_, columns)
        bias[columns] = per_column(fit.intercept_, columns)
    return DenseHead(named(0, *folded(weight, bias, mean, scale)))


@with_suitable_threads
def support_vector_machine(spec: SvmHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit `SVC` on standardized features, one per label, or `SVR`, one per value."""
    from sklearn.svm import SVC, SVR

    z, mean, scale = _prepared(rows)
    kind = rows.criterion.layout
    gamma = _scale_of(z)
    used = np.array(0.0 if spec.kernel == "linear" else gamma)
    dual, intercept = np.zeros((len(rows), outputs)), np.zeros(outputs)
    for problem in problems_of(rows, outputs):
        check()
        columns = problem.columns
        if kind == LABELS and (certainty := problem.certainty) is not None:
            intercept[columns] = certainty
            continue
        estimator = (SVR if kind == VALUES else SVC)(C=spec.c, kernel=spec.kernel, gamma=gamma)
        fit = estimator.fit(z, problem.truth, problem.weights)
        if len(columns) > 2:
            support, pair_weights = _dense(fit.support_vectors_), _dense(fit.dual_coef_).T
            numbers = (support, used, pair_weights, fit.intercept_, fit.n_support_)
            return SupportVectors(mean, scale, *map(_single, numbers))
        dual[np.ix_(fit.support_, columns)] = per_column(_dense(fit.dual_coef_), columns).T
        intercept[columns] = per_column(fit.intercept_, columns)
    used_rows, no_pairs = np.flatnonzero(dual.any(axis=1)), np.zeros(0, np.int32)
    numbers = (_dense(z[used_rows]), used, dual[used_rows], intercept, no_pairs)
    return SupportVectors(mean, scale, *map(_single, numbers))


def nearest_neighbors(spec: KnnHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Store the examples, as `KNeighborsClassifier` and `KNeighborsRegressor` do."""
    kind = rows.criterion.layout
    mean, scale = standardization(rows.features)
    examples = (rows.features - mean) / scale
    votes = np.eye(outputs, dtype=bool)[rows.targets] if kind == CLASSES else rows.targets
    count = min(spec.neighbors, len(rows))
    return Neighbors(mean, scale, examples, votes, np.array(count), np.array(kind))


def _prepared(rows: Rows) -> tuple[Any, Array, Array]:
    """Return standardized features (N, D) for scikit-learn, mean and scale; counts are not scaled."""
    if are_counts(rows.features):
        from scipy.sparse import csr_matrix

        width = rows.features.shape[1]
        return csr_matrix(rows.features), np.zeros(width, np.float32), np.ones(width, np.float32)
    mean, scale = standardization(rows.features)
    return ((rows.features - mean) / scale).astype(np.float64), mean, scale


def _scale_of(z: Any) -> float:
    """Return the gamma that scikit-learn calls "scale": 1 / (D variance)."""
    mean = float(z.mean())
    variance = float((z.multiply(z) if hasattr(z, "multiply") else z * z).mean()) - mean**2
    return 1 / (int(z.shape[1]) * (variance or 1.0))


def _dense(numbers: Any) -> Array:
    dense: Array = numbers.toarray() if hasattr(numbers, "toarray") else numbers
    return dense


def _single(numbers: Array) -> Array:
    """Return an array, float32 in place of float64: a head needs no more digits."""
    array = np.ascontiguousarray(numbers) if np.ndim(numbers) else numbers
    return array.astype(np.float32) if array.dtype == np.float64 and array.ndim else array
