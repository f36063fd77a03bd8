"""Maximum mean discrepancy with several kernels: an estimate and a permutation test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, domains, some_rows
from transfer_core.kinds.kernels import median_gamma, squared_distances

# The kernels are exp(-γ |x - y|²) with these multiples of 1 / median squared distance (powers of two: each is
# the square of the one before).
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Discrepancy:
    """Unbiased estimate of the squared discrepancy (near 0 for equal domains, also below), and the p-value of
    a permutation test of equality."""

    squared: float
    p_value: float


def mmd(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    permutations: int = 499,
    most: int = 2000,
    seed: int = 0,
) -> Discrepancy:
    """Estimate the squared maximum mean discrepancy, and test whether the domains are equal.

    The kernel is the mean of five RBF kernels around the median distance.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    permutations
        Their number in the test; the p-value is at least 1 / (permutations + 1).
    most
        Rows of each domain; more are sampled, which bounds memory by 4 · (2 · most)² bytes per kernel.
    seed
        Seed of sample and permutations.

    Raises
    ------
    ValueError
        If a domain has fewer than two rows.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, A Kernel Two-Sample Test, JMLR 13 (2012), equation 3 and
    section 5; Long, Cao, Wang and Jordan, Learning Transferable Features with Deep Adaptation Networks, ICML
    2015, section 3.1, for several kernels.
    """
    source, target = domains(source, target)
    source, target = some_rows(source, most, seed), some_rows(target, most, seed + 1)
    if min(len(source), len(target)) < 2:
        raise ValueError("the discrepancy needs two rows of each domain")
    kernel = multi_kernel(np.concatenate([source, target]), median_gamma(source, target, seed))
    rng = np.random.default_rng(seed)
    observed = np.repeat([True, False], [len(source), len(target)])
    drawn = np.stack([observed, *(rng.permutation(observed) for _ in range(permutations))])
    found = _unbiased(kernel, drawn)
    at_least = int((found[1:] >= found[0] - 1e-12).sum())
    return Discrepancy(float(found[0]), (1 + at_least) / (1 + permutations))


def multi_kernel(rows: Floats, gamma: float) -> Floats:
    """Mean of the kernels (N, N); `gamma` is the middle one."""
    factor = squared_distances(rows, rows)
    np.fill_diagonal(factor, 0)
    factor *= -gamma * _FACTORS[0]
    np.exp(factor, out=factor)
    total = factor.copy()
    for _ in _FACTORS[1:]:
        np.square(factor, out=factor)
        total += factor
    total /= len(_FACTORS)
    return total


def _unbiased(kernel: Floats, of_source: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The estimate for each row of `of_source` (P, N + M); the diagonal of the kernel doesn't count."""
    first = of_source.astype(kernel.dtype)
    rows, others = float(first[0].sum()), float((1 - first[0]).sum())
    diagonal = np.diag(kernel).astype(np.float64)
    through = kernel @ first.T  # (N + M, P)
    within = np.einsum("np,pn->p", through, first, dtype=np.float64) - first @ diagonal
    of_rows = first @ kernel.sum(axis=1, dtype=np.float64)
    between = of_rows - within - first @ diagonal
    rest = kernel.sum(dtype=np.float64) - within - first @ diagonal - 2 * between - (1 - first) @ diagonal
    found: npt.NDArray[np.float64] = (
        within / (rows * (rows - 1)) + rest / (others * (others - 1)) - 2 * between / (rows * others)
    )
    return found
