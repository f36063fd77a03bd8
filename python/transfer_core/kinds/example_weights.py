"""Properties of importance weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats


def effective_sample_size(weights: Floats) -> float:
    """Number of equally weighted examples of the same variance, (Σ w)² / Σ w² (Kish 1965, section 11.7).

    Parameters
    ----------
    weights
        (N,), not negative.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.ones(10)), effective_sample_size(np.eye(10)[0])
    (10.0, 1.0)
    """
    squares = float(np.square(weights, dtype=np.float64).sum())
    return float(weights.sum(dtype=np.float64)) ** 2 / squares if squares else 0.0


def normalized(weights: Floats) -> npt.NDArray[np.float64]:
    """Weights (N,) without negative ones and of mean 1; all 1 if none is positive."""
    found = np.maximum(weights, 0).astype(np.float64)
    mean = found.mean()
    return found / mean if mean > 0 else np.ones(len(found))
