"""Gaussian mixture by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.runtime.errors import DependencyError


def cluster_probabilities(
    rows: npt.NDArray[np.floating[Any]], clusters: int, seed: int
) -> npt.NDArray[np.float64]:
    """Probabilities (N, `clusters`) of the components of a mixture fitted on `rows` (N, P).

    Raises
    ------
    DependencyError
        Without scikit-learn.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise DependencyError("the score n_leep", "scikit-learn", "sklearn") from None
    import warnings

    mixture = GaussianMixture(
        clusters,
        covariance_type="diag",
        reg_covar=1e-3,
        max_iter=20,
        init_params="random_from_data",
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit is enough for a score
        mixture.fit(rows)
    return np.asarray(mixture.predict_proba(rows), np.float64)
