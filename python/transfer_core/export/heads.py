"""Heads as operators: from embeddings (N, D) float32 to outputs (N, K) float32.

A head is a function of its arrays, named as in the file of a model, and one entry of `_HEADS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.export.operators import ML, Value
from transfer_core.heads.cosine import SHORTEST
from transfer_core.recipe import heads as specs
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.tasks.criteria import CLASSES, VALUES

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]

# Weights of pairs of classes in a support vector machine, at most: 256 MB.
_MOST_PAIR_WEIGHTS = 1 << 26


def head_outputs(embeddings: Value, spec: specs.Head, arrays: Arrays) -> Value:
    """The outputs of a head.

    Parameters
    ----------
    embeddings
        (N, D) float32.
    spec
        The head of the recipe.
    arrays
        Its arrays by name: `0.weight` ….

    Raises
    ------
    ConfigurationError
        If the head is too large, or of an unknown kind.
    """
    if (head := _HEADS.get(type(spec))) is None:
        raise ConfigurationError(f"heads of the kind {type(spec).__name__} can't be exported")
    return head(embeddings, arrays)


def _dense(x: Value, arrays: Arrays) -> Value:
    numbers = sorted(int(name.partition(".")[0]) for name in arrays if name.endswith(".weight"))
    for number in numbers:
        weight, bias = arrays[f"{number}.weight"], arrays[f"{number}.bias"]
        x = x if number == numbers[0] else x.apply("Relu")
        x = x.apply("Gemm", weight, bias, transB=1)
    return x


def _support_vectors(x: Value, arrays: Arrays) -> Value:
    gamma, counts = float(arrays["0.gamma"]), arrays["0.counts"]
    support, dual, intercept = (arrays[f"0.{name}"] for name in ("support", "dual", "intercept"))
    z = _standardized(x, arrays)
    kernel = (z @ support.T).cast(np.float64)
    if gamma:
        own = (z * z).sum(1, keepdims=True).cast(np.float64)
        distances = own - kernel * 2.0 + np.square(support).sum(axis=1)
        kernel = (distances.apply("Max", 0.0) * -gamma).apply("Exp")
    if not len(counts):
        return (kernel @ dual.astype(np.float64) + intercept).cast(np.float32)
    return _votes(kernel @ _pair_weights(dual, counts) + intercept, len(counts)).cast(np.float32)


def _pair_weights(dual: Array, counts: Array) -> Array:
    """Weights (S, pairs) of the support in the margins of pairs of classes; see `heads.support_vectors`."""
    pairs = list(combinations(range(len(counts)), 2))
    if len(dual) * len(pairs) > _MOST_PAIR_WEIGHTS:
        raise ConfigurationError(
            f"the svm head of {len(counts)} classes with {len(dual)} support vectors is too large for ONNX. "
            "Fix: train with head :linear"
        )
    bounds = np.cumsum([0, *counts])
    weights = np.zeros((len(dual), len(pairs)))
    for column, (i, j) in enumerate(pairs):
        weights[bounds[i] : bounds[i + 1], column] = dual[bounds[i] : bounds[i + 1], j - 1]
        weights[bounds[j] : bounds[j + 1], column] = dual[bounds[j] : bounds[j + 1], i]
    return weights


def _votes(margins: Value, classes: int) -> Value:
    """Pairs that a class wins, plus a confidence below one third, (N, K) float64."""
    pairs = np.array(list(combinations(range(classes), 2))).reshape(-1, 2)
    signs, second = np.zeros((len(pairs), classes)), np.zeros(classes)
    signs[np.arange(len(pairs)), pairs[:, 0]] = 1
    signs[np.arange(len(pairs)), pairs[:, 1]] = -1
    np.add.at(second, pairs[:, 1], 1)
    won = margins.apply("Less", 0.0, dtype=bool).apply("Not").cast(np.float64)
    confidence = margins @ signs
    return won @ signs + second + confidence / ((confidence.apply("Abs") + 1.0) * 3.0)


def _forest(x: Value, arrays: Arrays) -> Value:
    values, leaf = arrays["0.values"], arrays["0.leaf"]
    nodes = np.flatnonzero(_is_leaf(arrays))
    targets = np.tile(np.arange(values.shape[1]), len(nodes))
    shares = _trees(
        x,
        arrays,
        np.repeat(nodes, values.shape[1]),
        targets,
        values[leaf[nodes]].ravel(),
        values.shape[1],
        "AVERAGE",
    )
    return _outputs_of_votes(shares, len(arrays["0.roots"]), int(arrays["0.kind"]))


def _boosted(x: Value, arrays: Arrays) -> Value:
    baseline, roots = arrays["0.baseline"], arrays["0.roots"]
    if not len(roots):
        first = x.apply("Gather", x.graph.constant(np.array([0])), axis=1)
        return first @ np.zeros((1, len(baseline))) + baseline
    nodes = np.flatnonzero(_is_leaf(arrays))
    targets = arrays["0.column"][_tree_of(arrays)[nodes]]
    values = arrays["0.values"][arrays["0.leaf"][nodes]]
    return _trees(x, arrays, nodes, targets, values, len(baseline), "SUM") + baseline


def _trees(
    x: Value, arrays: Arrays, nodes: Array, targets: Array, values: Array, outputs: int, aggregate: str
) -> Value:
    """Evaluate an ensemble: the leaf at each of `nodes` adds `values` to `targets`."""
    tree_of, roots, is_leaf = _tree_of(arrays), arrays["0.roots"], _is_leaf(arrays)
    first = roots[tree_of]
    _check_order(arrays, tree_of)
    left, right = (np.where(is_leaf, 0, arrays[f"0.{side}"] - first) for side in ("left", "right"))
    within = np.arange(len(is_leaf)) - first
    return x.apply(
        "TreeEnsembleRegressor",
        domain=ML,
        n_targets=outputs,
        aggregate_function=aggregate,
        post_transform="NONE",
        nodes_treeids=tree_of.tolist(),
        nodes_nodeids=within.tolist(),
        nodes_featureids=np.where(is_leaf, 0, arrays["0.feature"]).tolist(),
        nodes_values=np.where(is_leaf, 0, _rounded_down(arrays["0.threshold"])).tolist(),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf.tolist()],
        nodes_truenodeids=left.tolist(),
        nodes_falsenodeids=right.tolist(),
        target_treeids=tree_of[nodes].tolist(),
        target_nodeids=within[nodes].tolist(),
        target_ids=targets.tolist(),
        target_weights=values.astype(np.float32).tolist(),
    )


def _check_order(arrays: Arrays, tree_of: Array) -> None:
    """Children follow their parent in its tree: ONNX Runtime does not check a graph for cycles."""
    here, inner = np.arange(len(tree_of)), ~_is_leaf(arrays)
    for side in ("left", "right"):
        child = arrays[f"0.{side}"]
        if not ((child > here) & (tree_of[child] == tree_of))[inner].all():
            raise ConfigurationError("the trees of this head are not in the order of an export")


def _is_leaf(arrays: Arrays) -> Array:
    found: Array = arrays["0.left"] == np.arange(len(arrays["0.left"]))
    return found


def _tree_of(arrays: Arrays) -> Array:
    """The tree of each node: trees follow one another."""
    return np.searchsorted(arrays["0.roots"], np.arange(len(arrays["0.left"])), side="right") - 1


def _rounded_down(thresholds: Array) -> Array:
    """The largest float32 up to each threshold: float32 features are compared with both alike."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _neighbors(x: Value, arrays: Arrays) -> Value:
    examples, votes = arrays["0.examples"], arrays["0.votes"].astype(np.float32)
    count, graph = int(arrays["0.count"]), x.graph
    z = _standardized(x, arrays)
    distances = z @ (-2 * examples.T) + np.square(examples).sum(axis=1)
    how_many = graph.constant(np.array([count]))
    _, nearest = graph.add("TopK", [distances, how_many], (np.float32, np.int64), axis=1, largest=0)
    taken = graph.constant(votes).apply("Gather", nearest, axis=0)  # (N, count, K)
    return _outputs_of_votes(taken.sum(1) / count, count, int(arrays["0.kind"]))


def _cosine(x: Value, arrays: Arrays) -> Value:
    lengths = (x * x).sum(1, keepdims=True).apply("Sqrt").apply("Max", SHORTEST)
    return (x / lengths) @ arrays["0.weight"].T * arrays["0.scale"]


def _outputs_of_votes(shares: Value, voters: int, kind: int) -> Value:
    """See `heads.head.outputs_of_votes`."""
    if kind == VALUES:
        return shares
    likely = shares.apply("Max", 0.5 / voters).apply("Log")
    if kind == CLASSES:
        return likely
    return likely - (-shares + 1.0).apply("Max", 0.5 / voters).apply("Log")


def _standardized(x: Value, arrays: Arrays) -> Value:
    return (x - arrays["0.mean"]) / arrays["0.scale"]


_HEADS: dict[type, Callable[[Value, Arrays], Value]] = {
    specs.LinearHead: _dense,
    specs.LogisticHead: _dense,
    specs.MlpHead: _dense,
    specs.SvmHead: _support_vectors,
    specs.RandomForestHead: _forest,
    specs.GradientBoostingHead: _boosted,
    specs.KnnHead: _neighbors,
    specs.PrototypeHead: _dense,
    specs.CosineHead: _cosine,
}
