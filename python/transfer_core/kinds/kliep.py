"""Kullback-Leibler importance estimation: a density ratio of maximum likelihood."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, domains, some_rows
from transfer_core.kinds.example_weights import normalized
from transfer_core.kinds.kernels import median_gamma, squared_distances

_BANDWIDTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
_FOLDS = 5
_ITERATIONS = 1000
_TOLERANCE = 1e-7


def kliep(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    gamma: float | None = None,
    centers: int = 100,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Weight source examples by KLIEP.

    The ratio w(x) = Σ_l α_l k(x, c_l) with centres c_l among the target rows maximizes Σ_j log w(t_j) under
    mean_i w(x_i) = 1 and α ≥ 0. With γ_l = α_l mean_i k(x_i, c_l) on the simplex this is the likelihood of a
    mixture with fixed components, which EM maximizes without a step size.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    gamma
        exp(-gamma |x - y|²). Default: of multiples of 1 / median squared distance the one with the highest
        likelihood in 5-fold cross-validation over target rows.
    centers
        Kernel centres, drawn from the target rows.
    seed
        Seed of the centres and the folds.

    Returns
    -------
    Weights (N,), not negative, of mean 1.

    References
    ----------
    Sugiyama, Nakajima, Kashima, von Bünau and Kawanabe, Direct Importance Estimation with Model Selection and
    Its Application to Covariate Shift Adaptation, NIPS 2007 (published 2008), equation 7 and figure 1.
    """
    source, target = domains(source, target)
    middle = some_rows(target, centers, seed)
    of_source, of_target = squared_distances(source, middle), squared_distances(target, middle)
    if gamma is None:
        usual = median_gamma(source, target, seed)
        gamma = max(
            (usual * factor for factor in _BANDWIDTHS),
            key=lambda candidate: _held_out(of_source, of_target, candidate, seed),
        )
    numerator, means = _kernels(of_source, of_target, gamma)
    mixture = _mixture(numerator / means)
    found: npt.NDArray[np.float64] = np.exp(-gamma * of_source.astype(np.float64)) @ (mixture / means)
    return normalized(found)


def _kernels(of_source: Floats, of_target: Floats, gamma: float) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Kernel of target rows (M, L), and its mean over source rows (L,)."""
    means = np.exp(-gamma * of_source.astype(np.float64)).mean(axis=0)
    return np.exp(-gamma * of_target.astype(np.float64)), np.maximum(means, 1e-300)


def _mixture(ratios: Floats) -> npt.NDArray[np.float64]:
    """Weights (L,) on the simplex that maximize the mean log of `ratios` @ weights, by EM."""
    shares = np.full(ratios.shape[1], 1 / ratios.shape[1])
    before = -np.inf
    for _ in range(_ITERATIONS):
        density = np.maximum(ratios @ shares, 1e-300)
        likelihood = float(np.log(density).mean())
        if likelihood - before <= _TOLERANCE * abs(likelihood):
            break
        before = likelihood
        shares = shares * (ratios.T @ (1 / density)) / len(ratios)
        shares /= shares.sum()
    return shares


def _held_out(of_source: Floats, of_target: Floats, gamma: float, seed: int) -> float:
    """Mean log likelihood of target rows in turn held out."""
    numerator, means = _kernels(of_source, of_target, gamma)
    ratios = numerator / means
    folds = np.random.default_rng(seed).permutation(len(ratios)) % min(_FOLDS, len(ratios))
    scores = []
    for fold in range(folds.max() + 1):
        fitted = ratios[folds != fold]
        mixture = _mixture(fitted if len(fitted) else ratios)
        scores.append(float(np.log(np.maximum(ratios[folds == fold] @ mixture, 1e-300)).mean()))
    return float(np.mean(scores))
