"""Criteria that compare adapted models without labels of the target domain; of all, higher is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, some_rows

_TEMPERATURE = 0.05
_MOST = 2000
_TINY = 1e-12


def negative_entropy(scores: Floats) -> npt.NDArray[np.float64]:
    """Minus the entropy of each prediction (N,), for probabilities (N, K).

    References
    ----------
    Morerio, Cavazza and Murino, Minimal-Entropy Correlation Alignment, ICLR 2018, section 4.2.
    """
    wide = scores.astype(np.float64)
    found: npt.NDArray[np.float64] = (wide * np.log(np.maximum(wide, _TINY))).sum(axis=1)
    return found


def mutual_information(scores: Floats) -> float:
    """Entropy of the mean prediction minus the mean entropy: confident and diverse predictions.

    References
    ----------
    Bridle, Heading and MacKay, Unsupervised Classifiers, Mutual Information and 'Phantom Targets', NIPS 1991.
    """
    mean = scores.mean(axis=0, dtype=np.float64)
    return float(negative_entropy(scores).mean() - negative_entropy(mean[None])[0])


def soft_neighborhood_density(scores: Floats, seed: int = 0) -> float:
    """Entropy of the similarities of each prediction to the others, for probabilities (N, K); of at most
    2,000 rows.

    References
    ----------
    Saito, Kim, Teterwak, Sclaroff, Darrell and Saenko, Tune It the Right Way: Unsupervised Validation of
    Domain Adaptation via Soft Neighborhood Density, ICCV 2021, equations 1 to 3.
    """
    some = some_rows(scores, _MOST, seed).astype(np.float64)
    some = some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), _TINY)
    similar = some @ some.T / _TEMPERATURE
    np.fill_diagonal(similar, -np.inf)
    similar -= similar.max(axis=1, keepdims=True)
    shares = np.exp(similar)
    shares /= shares.sum(axis=1, keepdims=True)
    return float(-(shares * np.log(np.maximum(shares, _TINY))).sum(axis=1).mean())


@dataclass(frozen=True)
class Risk:
    """An estimate of the loss on the target domain, and its standard error."""

    loss: float
    error: float


def importance_weighted(losses: Floats, weights: Floats) -> Risk:
    """Importance-weighted validation: the mean loss of held-out source examples, weighted.

    Parameters
    ----------
    losses, weights
        (N,); weights have a mean of about 1.

    References
    ----------
    Sugiyama, Krauledat and Müller, Covariate Shift Adaptation by Importance Weighted Cross Validation,
    JMLR 8 (2007), section 4.
    """
    return _mean((losses * weights).astype(np.float64))


def deep_embedded_validation(losses: Floats, weights: Floats) -> Risk:
    """Importance-weighted validation with the weights as control variate, which reduces its variance.

    Parameters
    ----------
    losses, weights
        As for `importance_weighted`.

    References
    ----------
    You, Wang, Long and Jordan, Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation,
    ICML 2019, algorithm 2.
    """
    weighted = (losses * weights).astype(np.float64)
    variance = float(np.var(weights))
    slope = -float(np.cov(weighted, weights, ddof=0)[0, 1]) / variance if variance > 0 else 0.0
    return _mean(weighted + slope * (weights - 1))


def _mean(values: npt.NDArray[np.float64]) -> Risk:
    return Risk(float(values.mean()), float(values.std() / np.sqrt(len(values))))
