"""Learning curves: extrapolate the error on growing training sets by a power law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_GRID = np.linspace(0.05, 1.5, 146)


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = floor + scale n^-exponent (Hestness et al. 2017, Deep learning scaling is predictable)."""

    floor: float
    scale: float
    exponent: float

    def error(self, examples: float) -> float:
        """The expected error with this number of training examples."""
        return float(self.floor + self.scale * examples**-self.exponent)


def fit_power_law(
    sizes: Sequence[int], errors: Sequence[float], weights: Sequence[float] | None = None
) -> PowerLaw:
    """Fit a power law by weighted least squares.

    The exponent is searched on a grid; for each, floor ≥ 0 and scale ≥ 0 have a closed form.

    Parameters
    ----------
    sizes
        Numbers of training examples, at least two different ones.
    errors
        The error of each size.
    weights
        Inverse variances of the errors. Default: equal.

    Raises
    ------
    ValueError
        With fewer than two different sizes.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"expected at least two different sizes (got {len(set(sizes))})")
    y = np.asarray(errors, float)
    w = np.ones_like(y) if weights is None else np.asarray(weights, float)
    best: tuple[float, PowerLaw] | None = None
    for exponent in _GRID:
        x = np.asarray(sizes, float) ** -exponent
        floor, scale = _nonnegative_line(x, y, w)
        loss = float((w * (floor + scale * x - y) ** 2).sum())
        if best is None or loss < best[0] - 1e-15:
            best = loss, PowerLaw(floor, scale, float(exponent))
    assert best
    return best[1]


def _nonnegative_line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], w: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Intercept ≥ 0 and slope ≥ 0 of the weighted least squares line."""
    mean_x, mean_y = float((w * x).sum() / w.sum()), float((w * y).sum() / w.sum())
    variance = float((w * (x - mean_x) ** 2).sum())
    slope = float((w * (x - mean_x) * (y - mean_y)).sum()) / variance if variance > 0 else 0.0
    intercept = mean_y - slope * mean_x
    if slope < 0:
        return max(mean_y, 0.0), 0.0
    if intercept < 0:
        return 0.0, max(float((w * x * y).sum() / (w * x * x).sum()), 0.0)
    return intercept, slope
