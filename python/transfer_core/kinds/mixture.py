"""A Gaussian mixture of the target whose components start at the classes of the aligned source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers, domains, moments
from transfer_core.kinds.coral import coral
from transfer_core.kinds.linear import softmax
from transfer_core.runtime.parallel import one_blas_thread

Matrix: TypeAlias = npt.NDArray[Any]

_ITERATIONS = 30
# Of the mean variance, added to covariances.
_RIDGE = 0.1


@dataclass(frozen=True)
class LinearLayer:
    """Outputs x @ weight.T + bias, with `weight` (K, D) and `bias` (K,)."""

    weight: Floats
    bias: Floats


def mixture(
    source: npt.ArrayLike,
    classes: Integers,
    target: npt.ArrayLike,
    count: int,
    known: Integers | None = None,
    components: Sequence[int] = (32, 64),
    pull: float = 30.0,
) -> LinearLayer:
    """Fit a linear classifier of the target by EM on its rows, from the classes of the source.

    The source is aligned by CORAL, and both are projected to the target's principal components. There the
    target is a mixture of one Gaussian per class with a shared covariance; `pull` rows at the mean of the
    aligned source rows of a class count in its mean. The posterior of such a mixture is linear.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    classes
        (N,) classes of the source, 0 to `count` - 1.
    count
        The number of classes K.
    known
        (M,) classes of target rows, -1 where unknown. Default: all are unknown.
    components
        Numbers of principal components of the target; the outputs are the mean over them.
    pull
        Weight of the source in the mean of a class, in rows.

    References
    ----------
    Nigam, McCallum, Thrun and Mitchell, Text Classification from Labeled and Unlabeled Documents using EM,
    Machine Learning 39 (2000), sections 4 and 5, with Gaussians in place of multinomials; Wang and Breckon,
    Unsupervised Domain Adaptation via Structured Prediction Based Selective Pseudo-Labeling, AAAI 2020, for
    clusters of the target that start at classes of the source.
    """
    source, target = domains(source, target)
    centre, covariance = moments(target)
    with one_blas_thread():
        axes = np.linalg.eigh(covariance)[1][:, ::-1]
    moved = coral(source, target, ridge=1.0).source(source)
    truth = None if known is None else np.where((known >= 0)[:, None], np.eye(count)[known], np.nan)
    weights, biases = [], []
    for number in components:
        some = axes[:, : max(1, min(number, len(target) - 1))]
        parts = (moved - centre) @ some, np.asarray(classes), (target - centre) @ some
        weight, bias = _expectation_maximization(*parts, count, truth, pull)
        weights.append(some @ weight)
        biases.append(bias - centre @ weights[-1])
    kind = target.dtype
    return LinearLayer(np.mean(weights, axis=0).T.astype(kind), np.mean(biases, axis=0).astype(kind))


def _expectation_maximization(
    source: Matrix, classes: Integers, target: Matrix, count: int, truth: Matrix | None, pull: float
) -> tuple[Matrix, Matrix]:
    """Weight (R, K) and bias (K,) of the posterior of the target; `truth` (M, K) is NaN in unknown rows."""
    sizes = np.bincount(classes, minlength=count)
    starts = np.stack(
        [source[classes == one].mean(axis=0) if sizes[one] else 0 * source[0] for one in range(count)]
    )
    within = _covariance(source, np.eye(count)[classes], starts)
    # Classes without source rows start at known target rows, or are out of reach.
    shares = np.maximum(sizes, 1e-6) / max(1, sizes.sum())
    means, spread, prior = starts, within, shares
    for _ in range(_ITERATIONS):
        inverse = np.linalg.inv(spread + _RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread)))
        weight = inverse @ means.T
        bias = np.log(prior) - 0.5 * np.einsum("kr,rk->k", means, weight)
        posterior = softmax(target @ weight + bias)
        if truth is not None:
            posterior = np.where(np.isnan(truth), posterior, truth)
        found = posterior.sum(axis=0)
        pulled = pull * (sizes > 0)
        means = (posterior.T @ target + pulled[:, None] * starts) / (found + pulled + 1e-9)[:, None]
        spread = (within + _covariance(target, posterior, means)) / 2
        prior = (found + len(target) / 2 * shares) / (1.5 * len(target))
    return weight, bias


def _covariance(rows: Matrix, posterior: Matrix, means: Matrix) -> Matrix:
    """Covariance within classes, for rows (N, R) that belong to them with `posterior` (N, K)."""
    sums, sizes = posterior.T @ rows, posterior.sum(axis=0)
    across = sums.T @ means
    found: Matrix = (rows.T @ rows - across - across.T + (means.T * sizes) @ means) / len(rows)
    return found
