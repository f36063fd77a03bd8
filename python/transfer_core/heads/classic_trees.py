"""Tree heads fitted by scikit-learn."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from transfer_core.heads.classic_problems import (
    Check,
    Problem,
    none_if_equal,
    per_column,
    problems_of,
    with_suitable_threads,
)
from transfer_core.heads.head import Head
from transfer_core.heads.rows import Rows
from transfer_core.heads.trees import Boosted, Forest
from transfer_core.recipe.heads import GradientBoostingHead, RandomForestHead
from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Array

# Values times trees below which starting threads does not pay.
_WORTH_SHARING = 1 << 24

# Trees, or rounds of boosting, between two checks for cancellation.
_AT_ONCE = 20


class Nodes(NamedTuple):
    """Nodes of a tree, arrays (nodes,)."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    is_leaf: Array


@with_suitable_threads
def random_forest(spec: RandomForestHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit `RandomForestClassifier` or `RandomForestRegressor`, one for all outputs."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = rows.criterion.layout
    estimator = RandomForestRegressor if kind == VALUES else RandomForestClassifier
    cores = os.cpu_count() if rows.features.size * spec.trees > _WORTH_SHARING else 1
    forest = estimator(max_depth=spec.max_depth, random_state=seed, n_jobs=cores, warm_start=True)
    truth = rows.targets
    truth = truth.ravel() if kind == VALUES and outputs == 1 else truth
    problem = Problem(list(range(outputs)), truth, none_if_equal(rows.weights))
    fit = _grown(forest, "n_estimators", spec.trees, rows.features, problem, check)
    trees = [tree.tree_ for tree in fit.estimators_]
    values = np.concatenate([_votes(tree, fit, kind)[tree.children_left < 0] for tree in trees])
    nodes = [
        Nodes(t.feature, t.threshold, t.children_left, t.children_right, t.children_left < 0) for t in trees
    ]
    return Forest(*_concatenated(nodes), values, np.array(kind))


@with_suitable_threads
def gradient_boosting(spec: GradientBoostingHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit `HistGradientBoostingClassifier` per label, or `HistGradientBoostingRegressor` per value."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = rows.criterion.layout
    estimator = HistGradientBoostingRegressor if kind == VALUES else HistGradientBoostingClassifier
    options = {"learning_rate": spec.learning_rate, "random_state": seed, "warm_start": True}
    grown: list[tuple[Nodes, Array, int]] = []
    baseline = np.zeros(outputs)
    for problem in problems_of(rows, outputs):
        if kind == LABELS and (certainty := problem.certainty) is not None:
            baseline[problem.columns] = certainty
            continue
        fit = _grown(estimator(**options), "max_iter", spec.trees, rows.features, problem, check)
        baseline[problem.columns] = per_column(fit._baseline_prediction.ravel(), problem.columns)
        for trees in fit._predictors:
            grown += _with_columns([tree.nodes for tree in trees], problem.columns)
    nodes, values, columns = zip(*grown, strict=True) if grown else ((), (np.zeros(0),), ())
    return Boosted(
        *_concatenated(nodes),
        np.concatenate(values),
        np.array(columns, np.int32),
        baseline,
    )


def _with_columns(trees: list[Array], columns: list[int]) -> list[tuple[Nodes, Array, int]]:
    """Return nodes, leaf values and output column per tree.

    Two classes share one tree, of the second class: half of its value counts for that class, half against the
    other.
    """
    shares = [(-0.5, columns[0]), (0.5, columns[1])] if len(columns) == 2 else [(1.0, k) for k in columns]
    found = []
    for tree, (share, column) in zip(trees * (2 if len(columns) == 2 else 1), shares, strict=True):
        is_leaf = tree["is_leaf"].astype(bool)
        nodes = Nodes(tree["feature_idx"], tree["num_threshold"], tree["left"], tree["right"], is_leaf)
        found.append((nodes, share * tree["value"][is_leaf], column))
    return found


def _grown(estimator: Any, word: str, trees: int, features: Array, problem: Problem, check: Check) -> Any:
    """Fit `estimator` with so many trees, some at a time; boosting may stop with fewer."""
    for so_far in [*range(_AT_ONCE, trees, _AT_ONCE), trees]:
        check()
        estimator.set_params(**{word: so_far}).fit(features, problem.truth, problem.weights)
        if getattr(estimator, "n_iter_", so_far) < so_far:
            break
    return estimator


def _votes(tree: Any, forest: Any, kind: int) -> Array:
    """Return the votes (nodes, K) float32 of the nodes of a forest's tree."""
    values: Array = tree.value.astype(np.float32)  # (nodes, outputs, classes of an output)
    if kind == VALUES:
        return values[:, :, 0]
    if kind == CLASSES:
        values = values[:, 0, :]
        return values / values.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
    has_both = [len(classes) > 1 for classes in forest.classes_]
    always = np.array([float(classes[0]) for classes in forest.classes_], np.float32)
    return np.where(has_both, values[:, :, -1] / values.sum(axis=2), always)


def _concatenated(trees: tuple[Nodes, ...] | list[Nodes]) -> list[Array]:
    """Return the arrays of `Trees`."""
    sizes = [len(nodes.feature) for nodes in trees]
    roots = np.cumsum([0, *sizes])[:-1]
    nothing = Nodes(*[np.zeros(0, np.int64)] * 5)
    feature, threshold, left, right, is_leaf = map(np.concatenate, zip(nothing, *trees, strict=True))
    is_leaf, first, here = is_leaf.astype(bool), np.repeat(roots, sizes), np.arange(len(feature))
    left, right = (np.where(is_leaf, here, side.astype(np.int64) + first) for side in (left, right))
    leaf = np.where(is_leaf, np.cumsum(is_leaf) - 1, 0)
    return [
        np.where(is_leaf, 0, feature).astype(np.int32),
        np.where(is_leaf, 0.0, threshold).astype(np.float64),
        *(numbers.astype(np.int32) for numbers in (left, right, leaf, roots)),
        np.array(_depth(left, right, is_leaf, roots)),
    ]


def _depth(left: Array, right: Array, is_leaf: Array, roots: Array) -> int:
    """Return the number of steps of the longest path."""
    inner, steps = roots[~is_leaf[roots]], 0
    while len(inner):
        below = np.concatenate([left[inner], right[inner]])
        inner, steps = below[~is_leaf[below]], steps + 1
    return steps
