"""Black box shift estimation: shares of classes in an unlabelled target domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers

# A confusion matrix with a smaller singular value doesn't determine the shares.
_SINGULAR = 1e-3


@dataclass(frozen=True)
class LabelShift:
    """Ratio of the shares of each class, target over source (K,), its standard error from a bootstrap (K,),
    and the estimated shares in the target (K,)."""

    ratios: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]


def label_shift(
    source_scores: Floats,
    source_classes: Integers,
    target_scores: Floats,
    bootstraps: int = 100,
    seed: int = 0,
) -> LabelShift | None:
    """Estimate how the shares of classes differ, if p(x | class) is the same in both domains.

    Solves C w = μ with C_ij = mean score of class i over source examples, times the indicator of class j, and
    μ_i the mean score of class i in the target; negative ratios become 0.

    Parameters
    ----------
    source_scores
        (N, K) probabilities, or indicators of the predicted class, of a classifier for source examples that
        it was not fitted on.
    source_classes
        (N,) their true classes.
    target_scores
        (M, K) for the target.
    bootstraps
        Resamples of both domains for the standard errors.
    seed
        Their seed.

    Returns
    -------
    None if the confusion matrix is (nearly) singular.

    References
    ----------
    Lipton, Wang and Smola, Detecting and Correcting for Label Shift with Black Box Predictors, ICML 2018,
    equation 4 and algorithm 1.
    """
    rng = np.random.default_rng(seed)
    found = _ratios(source_scores, source_classes, target_scores)
    if found is None:
        return None
    again = []
    for _ in range(bootstraps):
        rows, others = (rng.integers(len(part), size=len(part)) for part in (source_scores, target_scores))
        drawn = _ratios(source_scores[rows], source_classes[rows], target_scores[others])
        if drawn is not None:
            again.append(drawn)
    errors = np.std(again, axis=0) if len(again) > 1 else np.full(len(found), np.inf)
    shares = found * np.bincount(source_classes, minlength=len(found)) / len(source_classes)
    return LabelShift(found, errors, shares / shares.sum())


def _ratios(scores: Floats, classes: Integers, target: Floats) -> npt.NDArray[np.float64] | None:
    truth = np.eye(scores.shape[1])[classes]
    confusion = scores.T.astype(np.float64) @ truth / len(scores)
    size = np.linalg.svd(confusion, compute_uv=False)
    if size[-1] < _SINGULAR * size[0]:
        return None
    found = np.linalg.solve(confusion, target.mean(axis=0, dtype=np.float64))
    positive: npt.NDArray[np.float64] = np.maximum(found, 0)
    return positive if positive.sum() > 0 else np.ones(len(found))
