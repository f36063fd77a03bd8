"""Restore a head from the arrays of a file, which is untrusted."""

from __future__ import annotations

from collections.abc import Mapping

from transfer_core.heads.cosine import Cosine
from transfer_core.heads.dense import DenseHead
from transfer_core.heads.head import FittedLayer, Head
from transfer_core.heads.neighbors import Neighbors
from transfer_core.heads.support_vectors import SupportVectors
from transfer_core.heads.trees import Boosted, Forest
from transfer_core.recipe import heads as specs
from transfer_core.tasks.criteria import Array

_FITTED: dict[type, type[FittedLayer]] = {
    specs.SvmHead: SupportVectors,
    specs.RandomForestHead: Forest,
    specs.GradientBoostingHead: Boosted,
    specs.KnnHead: Neighbors,
    specs.CosineHead: Cosine,
}


def restored(spec: specs.Head, tensors: Mapping[str, Array], width: int, outputs: int) -> Head:
    """Return the head of `spec` for features of `width`.

    Raises
    ------
    ValueError
        If `tensors` are not those of such a head.
    """
    kind = _FITTED.get(type(spec))
    names = {f"0.{name}" for name in kind.numbers} if kind else _dense_names(spec)
    if tensors.keys() != names:
        raise ValueError("its head does not fit its header")
    head = kind.of_tensors(tensors) if kind else DenseHead(tensors)
    head.check(width, outputs)
    return head


def _dense_names(spec: specs.Head) -> set[str]:
    """Return the names of weights and biases; ReLU and dropout have numbers, too."""
    layers = 1 + len(spec.hidden) if isinstance(spec, specs.MlpHead) else 1
    has_dropout = isinstance(spec, specs.LinearHead | specs.MlpHead) and spec.dropout > 0
    numbers = range(1, 3 * layers, 3) if has_dropout else range(0, 2 * layers, 2)
    return {f"{number}.{part}" for number in numbers for part in ("weight", "bias")}
