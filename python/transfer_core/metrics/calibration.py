"""Do scores mean what they say, and the one number that mends it.

Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers, as_classes, as_matrix, same_length

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
TOLERANCE = 1e-10
# Bisection alone needs 38 for the tolerance; Newton about 6.
MOST_STEPS = 100


def expected_calibration_error(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, bins: int = BINS
) -> float:
    """How far confidence and accuracy lie apart, on average: Σ_b (n_b / N) |accuracy_b - confidence_b|.

    Predictions are sorted into `bins` equally wide bins ((b-1)/bins, b/bins] of their highest probability
    (section 2, equation 3).

    Parameters
    ----------
    probabilities
        (N, C).
    targets
        (N,) class indices.

    Examples
    --------
    >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 12)
    0.4
    """
    scores, truth = _checked(probabilities, targets, "probabilities")
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == truth
    # The float32 sum of a softmax may exceed 1 by a hair, hence the clip.
    bin_of = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """The temperature T between 0.05 and 20 for which softmax(logits / T) has the least log loss.

    Temperature scaling (section 4.2): one number, fitted on held-out examples, that makes the scores
    honest and leaves every prediction as it is. T > 1 softens an overconfident model.

    The loss is convex in b = 1 / T. Its slope, mean(E_p[z] - z_target), is brought to zero by Newton's
    method, with bisection wherever a step would leave the bracket. When the target has the highest logit
    in every row (so also with one class) the loss only falls as T goes to 0: the data say nothing of
    doubt, and T is 1.

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
    """The same for labels each of its own: sigmoid(logits / T) has the least log loss.

    A label's sigmoid is the softmax of its logit beside a logit of 0, so each is an example of two classes.

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
    same_length(matrix, truth)
    return matrix, truth


def _root_of_slope(shifted: Floats, own: Floats) -> float:
    """The b within [1 / HOTTEST, 1 / COLDEST] at which the loss is least."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    if _slope(shifted, own, low)[0] >= 0:
        return low
    if _slope(shifted, own, high)[0] <= 0:
        return high
    b = 1.0
    for _ in range(MOST_STEPS):
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
