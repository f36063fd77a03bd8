"""Unconstrained least-squares importance fitting: a density ratio in closed form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import domains, some_rows
from transfer_core.kinds.example_weights import normalized
from transfer_core.kinds.kernels import median_gamma, squared_distances

_BANDWIDTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def ulsif(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    gamma: float | None = None,
    strength: float | None = None,
    centers: int = 100,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Weight source examples by uLSIF.

    The ratio w(x) = Σ_l α_l k(x, c_l) minimizes ½ mean_i w(x_i)² - mean_j w(t_j) + λ/2 |α|²; the solution is
    (H + λI)⁻¹h without its negative values. Bandwidth and λ have the lowest leave-one-out loss, in closed
    form.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    gamma
        exp(-gamma |x - y|²). Default: one of several multiples of 1 / median squared distance.
    strength
        λ. Default: one of several.
    centers
        Kernel centres, drawn from the target rows.
    seed
        Seed of the centres.

    Returns
    -------
    Weights (N,), not negative, of mean 1.

    References
    ----------
    Kanamori, Hido and Sugiyama, A Least-squares Approach to Direct Importance Estimation, JMLR 10 (2009),
    sections 3.1 and 3.2.
    """
    source, target = domains(source, target)
    middle = some_rows(target, centers, seed)
    of_source = squared_distances(source, middle).astype(np.float64)
    of_target = squared_distances(target, middle).astype(np.float64)
    usual = 0.0 if gamma else median_gamma(source, target, seed)
    gammas = [gamma] if gamma else [usual * factor for factor in _BANDWIDTHS]
    strengths = [strength] if strength else list(_STRENGTHS)
    candidates = [(one, other) for one in gammas for other in strengths]
    if len(candidates) > 1:
        losses = [
            leave_one_out(np.exp(-one * of_source), np.exp(-one * of_target), other)
            for one, other in candidates
        ]
        candidates = [candidates[int(np.argmin(losses))]]
    gamma, strength = candidates[0]
    kernel: npt.NDArray[np.float64] = np.exp(-gamma * of_source)
    weights = _solve(kernel.T @ kernel / len(kernel), np.exp(-gamma * of_target).mean(axis=0), strength)
    return normalized(kernel @ np.maximum(weights, 0))


def _solve(
    gram: npt.NDArray[np.float64], means: npt.NDArray[np.float64], strength: float
) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.solve(gram + strength * np.eye(len(gram)), means), np.float64)


def leave_one_out(
    of_source: npt.NDArray[np.float64], of_target: npt.NDArray[np.float64], strength: float
) -> float:
    """Mean loss ½ w(x_i)² - w(t_i) of ratios fitted without x_i and t_i, i = 1 … min(N, M).

    The Sherman-Morrison formula gives all fits from one inverse (equation 3.10 and appendix of the paper).

    Parameters
    ----------
    of_source, of_target
        Kernels (N, L) and (M, L).
    strength
        λ.
    """
    rows, others = len(of_source), len(of_target)
    count = min(rows, others)
    if count < 2 or rows < 2 or others < 2:
        return 0.0
    # Without row i: H = (N H - φφᵀ) / (N - 1); factors of N - 1 are moved into the regularization.
    inverse = np.linalg.inv(of_source.T @ of_source + strength * (rows - 1) * np.eye(of_source.shape[1]))
    left, held = of_source[:count], of_target[:count]
    means = (of_target.sum(axis=0) - held) / (others - 1)  # (count, L)
    through, solved = left @ inverse, means @ inverse
    shrink = 1 - np.einsum("nl,nl->n", through, left)
    gain = np.einsum("nl,nl->n", solved, left) / shrink
    weights = np.maximum((rows - 1) * (solved + gain[:, None] * through), 0)
    ratios, at_target = np.einsum("nl,nl->n", weights, left), np.einsum("nl,nl->n", weights, held)
    return float((ratios**2 / 2 - at_target).mean())
