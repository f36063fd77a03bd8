"""Proxy A-distance between two domains, and the features in which they differ most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import domains
from transfer_core.kinds.discriminator import Separation


def proxy_a_distance(separation: Separation) -> float:
    """2 (1 - 2 ε) with the error ε of a linear classifier between the domains: 0 (equal) to 2 (separable).

    References
    ----------
    Ben-David, Blitzer, Crammer and Pereira, Analysis of Representations for Domain Adaptation, NIPS 2006,
    section 4.
    """
    return max(0.0, 2 * (1 - 2 * separation.error))


def effect_sizes(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Difference of the means of each feature in pooled standard deviations, target minus source (D,)."""
    source, target = domains(source, target)
    spread = np.sqrt((source.var(axis=0, dtype=np.float64) + target.var(axis=0, dtype=np.float64)) / 2)
    difference = target.mean(axis=0, dtype=np.float64) - source.mean(axis=0, dtype=np.float64)
    found: npt.NDArray[np.float64] = np.divide(
        difference, spread, out=np.zeros(len(spread)), where=spread > 0
    )
    return found
