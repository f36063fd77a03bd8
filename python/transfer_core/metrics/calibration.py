"""Calibration: expected calibration error and temperature scaling.

Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers, as_classes, as_matrix, check_same_length

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
TOLERANCE = 1e-10
# Bisection alone needs 38 for the tolerance; Newton about 6.
MAX_STEPS = 100


def expected_calibration_error(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, bins: int = BINS
) -> float:
    """Expected calibration error: Σ_b (n_b / N) |accuracy_b - confidence_b| (section 2, equation 3).

    Predictions are sorted into equally wide bins ((b-1)/bins, b/bins] of their highest probability.

    Parameters
    ----------
    probabilities
        (N, C).
    targets
        (N,) class indices.
    bins
        The number of bins.

    Returns
    -------
    The error, 0 to 1.

    Raises
    ------
    ValueError
        Wrong shapes, no examples, or numbers that are not finite.

    Examples
    --------
    >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 12)
    0.4
    """
    scores, truth = _checked(probabilities, targets, "probabilities")
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == truth
    # The float32 sum of a softmax may exceed 1 by rounding, hence the clip.
    bin_of = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Fit the temperature T, 0.05 to 20, for which softmax(logits / T) has the lowest log loss.

    Temperature scaling (section 4.2): one number, fitted on held-out examples, calibrates the scores and
    leaves every predicted class as it is. T > 1 softens an overconfident model.

    The loss is convex in b = 1 / T. Its slope, mean(E_p[z] - z_target), is brought to zero by Newton's
    method, with bisection wherever a step would leave the bracket. If the target has the highest logit in
    every row (so also with one class), the loss falls monotonically as T goes to 0; T is then 1.

    Parameters
    ----------
    logits
        (N, C), finite.
    targets
        (N,) class indices.

    Examples
    --------
    >>> temperature = fit_temperature([[4.0, 0.0]] * 4, [0, 0, 0, 1])  # right 3 times in 4
    >>> f"{temperature:.6f}", f"{4 / np.log(3):.6f}"
    ('3.640957', '3.640957')
    """
    scores, truth = _checked(logits, targets, "logits")
    shifted = scores - scores.max(axis=1, keepdims=True)
    own = np.take_along_axis(shifted, truth[:, None], axis=1)[:, 0]
    if (own == 0).all():
        return 1.0
    return 1 / _root_of_slope(shifted, own)


def fit_label_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Fit the temperature T for independent labels: sigmoid(logits / T) has the lowest log loss.

    A sigmoid is the softmax of a logit and a 0, so each label of each example is an example of two classes.

    Parameters
    ----------
    logits
        (N, K), finite.
    targets
        (N, K) bool.
    """
    own = np.asarray(logits, np.float64).ravel()
    return fit_temperature(np.stack([np.zeros_like(own), own], axis=1), np.asarray(targets, np.int64).ravel())


def _checked(scores: npt.ArrayLike, targets: npt.ArrayLike, name: str) -> tuple[Floats, Integers]:
    columns = np.shape(scores)[-1] if np.ndim(scores) else 0
    matrix = as_matrix(scores, columns, name)
    truth = as_classes(targets, columns, "targets")
    check_same_length(matrix, truth)
    return matrix, truth


def _root_of_slope(shifted: Floats, own: Floats) -> float:
    """The b within [1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE] that minimizes the loss."""
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    if _slope(shifted, own, low)[0] >= 0:
        return low
    if _slope(shifted, own, high)[0] <= 0:
        return high
    b = 1.0
    for _ in range(MAX_STEPS):
        slope, curvature = _slope(shifted, own, b)
        low, high = (b, high) if slope < 0 else (low, b)
        step = slope / curvature if curvature > 0 else np.inf
        if abs(step) <= TOLERANCE * b:
            break
        b = b - step if low < b - step < high else (low + high) / 2
    return b


def _slope(shifted: Floats, own: Floats, b: float) -> tuple[float, float]:
    """First and second derivative of the mean loss by b: mean(E_p[z] - z_target) and mean(Var_p[z])."""
    weights = np.exp(b * shifted)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = (weights * shifted).sum(axis=1)
    variance = (weights * shifted**2).sum(axis=1) - expected**2
    return float((expected - own).mean()), float(variance.mean())
