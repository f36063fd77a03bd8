"""Reverse validation: judge predicted labels of the target by how well they predict those of the source."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Integers, domains, moments
from transfer_core.kinds.coral import coral
from transfer_core.runtime.parallel import one_blas_thread

_COMPONENTS = 64
_RIDGE = 0.1


def reverse_hits(
    source: npt.ArrayLike,
    classes: Integers,
    target: npt.ArrayLike,
    predicted: Integers,
    count: int,
) -> npt.NDArray[np.float64]:
    """Whether each source row gets its class from a classifier trained on predictions for the target.

    The target is aligned to the source by CORAL; the classifier is a linear discriminant on the source's
    principal components.

    Parameters
    ----------
    source, classes
        (N, D) features, and their true classes (N,).
    target, predicted
        (M, D) features, and the classes (M,) that a model predicts for them.
    count
        The number of classes.

    Returns
    -------
    1 or 0 for each source row (N,).

    References
    ----------
    Zhong, Fan, Yang, Verscheure and Ren, Cross Validation Framework to Choose amongst Models and Datasets for
    Transfer Learning, ECML PKDD 2010, section 3; Ganin et al., Domain-Adversarial Training of Neural
    Networks, JMLR 17 (2016), section 5.1.2.
    """
    source, target = domains(source, target)
    centre, covariance = moments(source)
    with one_blas_thread():
        axes = np.linalg.eigh(covariance)[1][:, ::-1][:, : max(1, min(_COMPONENTS, len(source) - 1))]
    rows = (coral(target, source, ridge=1.0).source(target) - centre) @ axes
    present = np.unique(predicted)
    means = np.stack([rows[predicted == one].mean(axis=0) for one in present])
    rest = rows - means[np.searchsorted(present, predicted)]
    within = rest.T @ rest / len(rest)
    within += _RIDGE * np.trace(within) / len(within) * np.eye(len(within)) + 1e-12 * np.eye(len(within))
    weight = np.linalg.solve(within, means.T)
    shares = np.bincount(predicted, minlength=count)[present] / len(predicted)
    scores = (source - centre) @ axes @ weight - 0.5 * np.einsum("kr,rk->k", means, weight) + np.log(shares)
    hits: npt.NDArray[np.float64] = (present[scores.argmax(axis=1)] == classes).astype(np.float64)
    return hits
