"""Importance weights from a classifier that separates the domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, domains
from transfer_core.kinds.example_weights import normalized
from transfer_core.kinds.linear import fit_softmax

_FOLDS = 2
# Log odds beyond these are those of features that separate the domains completely.
_LARGEST_LOG_ODDS = 12.0


@dataclass(frozen=True)
class Separation:
    """Out-of-fold log odds of the target domain, for source rows (N,) and target rows (M,), corrected for the
    sizes of the domains: 0 where both are equally dense."""

    source: npt.NDArray[np.float64]
    target: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """Balanced error of the classifier, 0 (separable) to about 0.5 (indistinguishable)."""
        wrong = [(self.source > 0).mean() + (self.source == 0).mean() / 2]
        wrong.append((self.target < 0).mean() + (self.target == 0).mean() / 2)
        return float(np.mean(wrong))


def separate(
    source: npt.ArrayLike, target: npt.ArrayLike, strength: float = 1e-1, seed: int = 0
) -> Separation:
    """Cross-validate logistic regression between the domains, with equal total weight of both.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    strength
        Strength of the L2 penalty, on standardized features.
    seed
        Seed of the folds. Equal domains get equal folds, and log odds of 0.
    """
    source, target = domains(source, target)
    folds = [np.random.default_rng(seed).permutation(len(part)) % _FOLDS for part in (source, target)]
    found = [np.zeros(len(source)), np.zeros(len(target))]
    for fold in range(_FOLDS):
        fitted = [part[of != fold] for part, of in zip((source, target), folds, strict=True)]
        if not all(len(part) for part in fitted):
            continue
        classes = np.repeat([0, 1], [len(part) for part in fitted])
        balance = np.repeat([1 / len(part) for part in fitted], [len(part) for part in fitted])
        model = fit_softmax(np.concatenate(fitted), classes, 2, balance, strength)
        for domain, part in enumerate((source, target)):
            outputs = model.outputs(part[folds[domain] == fold]).astype(np.float64)
            found[domain][folds[domain] == fold] = outputs[:, 1] - outputs[:, 0]
    return Separation(*found)


def discriminator(
    source: npt.ArrayLike, target: npt.ArrayLike, strength: float = 1e-1, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Weight source examples by the odds that they are of the target domain, p(target | x) / p(source | x).

    Parameters
    ----------
    source, target, strength, seed
        As for `separate`.

    Returns
    -------
    Weights (N,), not negative, of mean 1.

    References
    ----------
    Bickel, Brückner and Scheffer, Discriminative Learning under Covariate Shift, JMLR 10 (2009), section 3.
    """
    log_odds: Floats = separate(source, target, strength, seed).source
    return normalized(np.exp(np.clip(log_odds, -_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)))
