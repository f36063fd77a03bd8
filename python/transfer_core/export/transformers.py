"""scikit-learn's transformers as operators: from X (N, D) float64 to the same, one function for each.

Most are linear: their matrix is read off `transform` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.export.operators import Value
from transfer_core.runtime.errors import ConfigurationError

Array: TypeAlias = npt.NDArray[Any]

# Rows of the identity that are transformed together.
_AT_ONCE = 256


def through(values: Value, estimators: Sequence[Any]) -> Value:
    """The output of fitted transformers, one after the other.

    Raises
    ------
    ConfigurationError
        If one of them has no form in standard operators.
    """
    for estimator in estimators:
        name = type(estimator).__name__
        if (convert := _TRANSFORMERS.get(name)) is None:
            raise ConfigurationError(
                f"sklearn:{name} can't be exported: its calculation has no form in standard operators. "
                f"Fix: train with one of {', '.join(sorted(_TRANSFORMERS))}"
            )
        values = convert(values, estimator)
    return values


def _scaled(x: Value, estimator: Any) -> Value:
    """As scikit-learn subtracts and divides, so that the median becomes exactly 0; NaN stays NaN."""
    shift = getattr(estimator, "center_", getattr(estimator, "mean_", None))
    if shift is not None and getattr(estimator, "with_mean", True):
        x = x - _array(shift)
    return x if estimator.scale_ is None else x / _array(estimator.scale_)


def _min_max(x: Value, estimator: Any) -> Value:
    scaled = x * _array(estimator.scale_) + _array(estimator.min_)
    return scaled.apply("Clip", *map(float, estimator.feature_range)) if estimator.clip else scaled


def _linear(x: Value, estimator: Any) -> Value:
    width = estimator.n_features_in_
    shift = _dense(estimator.transform(np.zeros((2, width))))[0]
    rows = [
        _dense(estimator.transform(np.eye(min(_AT_ONCE, width - start) + 1, width, start))[:_AT_ONCE])
        for start in range(0, width, _AT_ONCE)
    ]
    return x @ _array(np.concatenate(rows)[:width] - shift) + _array(shift)


def _dense(found: Any) -> Array:
    return _array(found.toarray() if hasattr(found, "toarray") else found)


def _array(numbers: Any) -> Array:
    array: Array = np.asarray(numbers, np.float64)
    return array


def _impute(x: Value, estimator: Any) -> Value:
    statistics = np.asarray(estimator.statistics_, np.float64)
    missing = estimator.missing_values
    is_missing = _is_nan(x) if _means_nan(missing) else x.apply("Equal", float(missing), dtype=bool)
    kept = np.flatnonzero(~np.isnan(statistics))
    filled = is_missing.choose(np.nan_to_num(statistics), x)
    parts = [_columns(filled, kept)]
    if estimator.add_indicator:
        parts.append(_columns(is_missing, estimator.indicator_.features_).cast(np.float64))
    return parts[0].joined(*parts[1:], axis=1)


def _indicate(x: Value, estimator: Any) -> Value:
    missing = estimator.missing_values
    is_missing = _is_nan(x) if _means_nan(missing) else x.apply("Equal", float(missing), dtype=bool)
    return _columns(is_missing, estimator.features_).cast(np.float64)


def _means_nan(missing: Any) -> bool:
    return missing is None or missing != missing


def _is_nan(x: Value) -> Value:
    return x.apply("IsNaN", dtype=bool)


def _columns(x: Value, places: Any) -> Value:
    return x.apply("Gather", x.graph.constant(np.asarray(places, np.int64)), axis=1)


def _normalize(x: Value, estimator: Any) -> Value:
    axis = x.graph.constant(np.array([1]))
    if estimator.norm == "max":
        one = x.graph.constant(np.array([1]))
        length, _ = x.graph.add("TopK", [x.apply("Abs"), one], (np.float64, np.int64), axis=1)
    elif estimator.norm == "l1":
        length = x.apply("Abs").apply("ReduceSum", axis, keepdims=1)
    else:
        length = (x * x).apply("ReduceSum", axis, keepdims=1).apply("Sqrt")
    is_zero = length.apply("Equal", 0.0, dtype=bool)
    return x / is_zero.choose(length * 0.0 + 1.0, length)


def _binarize(x: Value, estimator: Any) -> Value:
    return x.apply("Greater", float(estimator.threshold), dtype=bool).cast(np.float64)


def _polynomials(x: Value, estimator: Any) -> Value:
    powers = estimator.powers_  # (outputs, columns)
    product = None
    with_one = x.joined(_columns(x, [0]) * 0.0 + 1.0, axis=1)
    for degree in range(max(1, int(powers.sum(axis=1).max()))):
        factors = [np.repeat(np.arange(len(row)), row) for row in powers]
        chosen = [row[degree] if degree < len(row) else powers.shape[1] for row in factors]
        factor = _columns(with_one, chosen)
        product = factor if product is None else product * factor
    assert product is not None
    return product


def _selected(x: Value, estimator: Any) -> Value:
    return _columns(x, estimator.get_support(indices=True))


def _distances(x: Value, estimator: Any) -> Value:
    centers = _array(estimator.cluster_centers_)
    return _squared_distances(x, centers).apply("Sqrt")


def _squared_distances(x: Value, points: Array) -> Value:
    own = (x * x).sum(1, keepdims=True)
    return (own - (x @ points.T) * 2.0 + _array(np.square(points).sum(axis=1))).apply("Max", 0.0)


def _boltzmann(x: Value, estimator: Any) -> Value:
    return (x @ _array(estimator.components_.T) + _array(estimator.intercept_hidden_)).apply("Sigmoid")


def _random_fourier(x: Value, estimator: Any) -> Value:
    waves = x @ _array(estimator.random_weights_) + _array(estimator.random_offset_)
    return waves.apply("Cos") * float((2.0 / estimator.n_components) ** 0.5)


def _skewed_chi2(x: Value, estimator: Any) -> Value:
    logs = (x + float(estimator.skewedness)).apply("Log")
    return _random_fourier(logs, estimator)


def _nystroem(x: Value, estimator: Any) -> Value:
    kernel = _kernel(x, estimator, estimator.components_, estimator.gamma)
    return kernel @ _array(estimator.normalization_.T)


def _kernel_pca(x: Value, estimator: Any) -> Value:
    kernel = _kernel(x, estimator, estimator.X_fit_, estimator.gamma_)
    axis = x.graph.constant(np.array([1]))
    rows = kernel.apply("ReduceSum", axis, keepdims=1) / float(len(estimator.X_fit_))
    centered = kernel - _array(estimator._centerer.K_fit_rows_) - rows + float(estimator._centerer.K_fit_all_)
    nonzero = np.flatnonzero(estimator.eigenvalues_)
    vectors = np.zeros_like(estimator.eigenvectors_)
    vectors[:, nonzero] = estimator.eigenvectors_[:, nonzero] / np.sqrt(estimator.eigenvalues_[nonzero])
    return centered @ _array(vectors)


def _kernel(x: Value, estimator: Any, given: Any, gamma: float | None) -> Value:
    """Kernel values (N, points) as by scikit-learn's `pairwise_kernels`."""
    points = _array(given)
    gamma = 1.0 / points.shape[1] if gamma is None else float(gamma)
    degree = 3.0 if estimator.degree is None else float(estimator.degree)
    offset = 1.0 if estimator.coef0 is None else float(estimator.coef0)
    name = estimator.kernel
    if name == "linear":
        return x @ points.T
    if name == "rbf":
        return (_squared_distances(x, points) * -gamma).apply("Exp")
    if name in ("poly", "polynomial"):
        return ((x @ points.T) * gamma + offset).apply("Pow", degree)
    if name == "sigmoid":
        return ((x @ points.T) * gamma + offset).apply("Tanh")
    raise ConfigurationError(
        f"sklearn:{type(estimator).__name__} with the kernel {name!r} can't be exported. "
        "Fix: train with the kernel rbf, poly, sigmoid or linear"
    )


def _tfidf(x: Value, estimator: Any) -> Value:
    if estimator.sublinear_tf:
        is_there = x.apply("Greater", 0.0, dtype=bool)
        x = is_there.choose(x.apply("Max", 1.0).apply("Log") + 1.0, x)
    if estimator.use_idf:
        x = x * _array(estimator.idf_)
    return _normalize(x, estimator) if estimator.norm else x


_TRANSFORMERS: dict[str, Callable[[Value, Any], Value]] = {
    **dict.fromkeys(("StandardScaler", "MaxAbsScaler", "RobustScaler"), _scaled),
    **dict.fromkeys(
        (
            "PCA",
            "IncrementalPCA",
            "TruncatedSVD",
            "FactorAnalysis",
            "FastICA",
            "SparsePCA",
            "MiniBatchSparsePCA",
            "GaussianRandomProjection",
            "SparseRandomProjection",
        ),
        _linear,
    ),
    "MinMaxScaler": _min_max,
    "SimpleImputer": _impute,
    "MissingIndicator": _indicate,
    "Normalizer": _normalize,
    "Binarizer": _binarize,
    "PolynomialFeatures": _polynomials,
    "VarianceThreshold": _selected,
    "KMeans": _distances,
    "MiniBatchKMeans": _distances,
    "BernoulliRBM": _boltzmann,
    "RBFSampler": _random_fourier,
    "SkewedChi2Sampler": _skewed_chi2,
    "Nystroem": _nystroem,
    "KernelPCA": _kernel_pca,
    "TfidfTransformer": _tfidf,
}
