"""Exact contributions to a linear head: weight times value, per column of a table or term of a text."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_core.explain.case import Attribution, Case
from transfer_core.heads.dense import DenseHead
from transfer_core.tasks.criteria import Array

# scikit-learn's transformers whose output j depends on column j alone.
_BY_COLUMN = {
    "SimpleImputer",
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "QuantileTransformer",
    "PowerTransformer",
}
_COUNTS = {"CountVectorizer", "TfidfVectorizer"}


def linear_weights(case: Case) -> tuple[Array, float] | None:
    """Weights (D,) and bias, float64, of the score by the embedding; None if the head is not linear."""
    arrays = case.head.state_dict()
    if not isinstance(case.head, DenseHead) or len(arrays) != 2:
        return None
    (weight,) = (array for name, array in arrays.items() if name.endswith("weight"))
    (bias,) = (array for name, array in arrays.items() if name.endswith("bias"))
    return case.direction @ weight.astype(np.float64), float(case.direction @ bias + case.offset)


def linear_row(case: Case) -> Attribution | None:
    """The sum of weight × (x − mean) over the features of each column.

    `base` is the score of the mean training example; with the contributions it adds up to the score.
    """
    layer = linear_weights(case)
    owners = feature_owners(case)
    if layer is None or owners is None:
        return None
    weights, bias = layer
    mean = mean_of(case, len(weights))
    products = weights * (embedding_of(case) - mean)
    if len(owners) != len(products):
        return None
    sums = np.bincount(owners, products, len(case.columns))
    base = bias + float(weights @ mean)
    return Attribution(columns=dict(zip(case.columns, sums.tolist(), strict=True)), base=base)


def linear_text(case: Case) -> Attribution | None:
    """Weight × (x − mean) of each term of the text, the largest first.

    `base` is the score of a text in which these terms have their mean values, and that has no others.
    """
    layer = linear_weights(case)
    terms = feature_terms(case)
    if layer is None or terms is None:
        return None
    weights, bias = layer
    embedding = embedding_of(case)
    present = [place for place in np.flatnonzero(embedding).tolist() if place in terms]
    mean = mean_of(case, len(weights))
    products = {terms[at]: float(weights[at] * (embedding[at] - mean[at])) for at in present}
    base = bias + float(weights[present] @ mean[present])
    return Attribution(tokens=tuple(sorted(products.items(), key=_by_size)), base=base)


def mean_of(case: Case, width: int) -> Array:
    """The mean embedding (D,), zeros where no training examples are stored."""
    return np.zeros(width) if case.mean is None else case.mean


def _by_size(token: tuple[str, float]) -> float:
    return -abs(token[1])


def embedding_of(case: Case) -> Array:
    """The embedding (D,) float64 of the input."""
    import torch

    with torch.no_grad():
        found: Array = case.backbone.module()([case.loaded]).numpy()[0].astype(np.float64)
    return found


def _estimators(case: Case) -> list[Any]:
    """The transformers of a backbone of scikit-learn; empty for others."""
    if case.backbone.facts.source != "scikit_learn":
        return []
    chain: Any = case.backbone.module().blocks[0]
    return list(chain.estimators)


def feature_terms(case: Case) -> dict[int, str] | None:
    """The term of each feature of a text; None unless one vectorizer counts them."""
    estimators = _estimators(case)
    names = [type(one).__name__ for one in estimators]
    if len(names) != 1 or names[0] not in _COUNTS or not isinstance(case.loaded, str):
        return None
    return {place: term for term, place in estimators[0].vocabulary_.items()}


def feature_owners(case: Case) -> list[int] | None:
    """The column of each feature; None if a feature depends on several, or it is not known."""
    estimators = _estimators(case)
    if not estimators:
        return None
    owners = list(range(len(case.columns)))
    for number, estimator in enumerate(estimators):
        name = type(estimator).__name__
        if name == "ColumnTransformer" and number == 0:
            owners = _encoded(estimator)
        elif name not in _BY_COLUMN:
            return None
    return owners


def _encoded(transformer: Any) -> list[int]:
    """The column of each output of a `ColumnTransformer` of numbers and one-hot categories."""
    owners: list[int] = []
    for name, estimator, places in transformer.transformers_:
        if name == "numbers":
            owners += places
        elif name == "categories":
            for place, count in zip(places, estimator._n_features_outs, strict=True):
                owners += [place] * count
    return owners
