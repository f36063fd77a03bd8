"""Layers of a head, from features (N, D) to logits or scaled values (N, K)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import OnlyShapes
from transfer_core.heads.fitted_layer import FittedLayer
from transfer_core.heads.neighbors import Neighbors
from transfer_core.heads.support_vectors import SupportVectors
from transfer_core.heads.trees import Boosted, Forest
from transfer_core.recipe.schema import (
    GradientBoostingHead,
    Head,
    KnnHead,
    LinearHead,
    MlpHead,
    RandomForestHead,
    SvmHead,
)

_FITTED: dict[type, type[FittedLayer]] = {
    SvmHead: SupportVectors,
    RandomForestHead: Forest,
    GradientBoostingHead: Boosted,
    KnnHead: Neighbors,
}


def build_head(spec: Head, width: int, outputs: int, generator: torch.Generator | None) -> nn.Sequential:
    """Return a new head for features (N, `width`), with outputs (N, `outputs`).

    ReLU follows every hidden layer, dropout precedes each dense layer. The last layer is initialized to zero:
    with fewer examples than features, initial weights in directions that no example shows would remain as
    noise in every prediction. Heads that scikit-learn fits are empty.

    Parameters
    ----------
    generator
        Source of the initial weights; None for weights on the meta device, for `load_state_dict(…,
        assign=True)`.
    """
    if layer := _FITTED.get(type(spec)):
        return nn.Sequential(layer())
    hidden = spec.hidden if isinstance(spec, MlpHead) else ()
    dropout = spec.dropout if isinstance(spec, LinearHead | MlpHead) else 0.0
    widths = (width, *hidden, outputs)
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        if i > 0:
            layers.append(nn.ReLU())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(_dense(before, after, generator))
    head = nn.Sequential(*layers)
    nn.init.zeros_(last_dense(head).weight)
    return head


def _dense(before: int, after: int, generator: torch.Generator | None) -> nn.Linear:
    """Return a dense layer with He-uniform weights (He et al. 2015, section 2.2) and zero bias."""
    # nn.Linear draws initial weights, which are not used.
    with OnlyShapes() if generator is None else torch.random.fork_rng(devices=[]):
        layer = nn.Linear(before, after)
    if generator is None:
        return layer
    bound = (6 / before) ** 0.5
    with torch.no_grad():
        layer.weight.copy_(torch.rand(after, before, generator=generator) * 2 * bound - bound)
        layer.bias.zero_()
    return layer


def first_dense(head: nn.Sequential) -> nn.Linear:
    """Return the first dense layer."""
    return next(layer for layer in head if isinstance(layer, nn.Linear))


def last_dense(head: nn.Sequential) -> nn.Linear:
    """Return the last dense layer."""
    return next(layer for layer in reversed(list(head)) if isinstance(layer, nn.Linear))


@torch.no_grad()
def fold_standardization(head: nn.Sequential, mean: Tensor, scale: Tensor) -> None:
    """Fold the scaling into `head`, in place: fitted on z = (x - mean) / scale, it then takes x.

    `mean` and `scale` are (D,). With W' = W / scale and b' = b - W' mean, W z + b = W' x + b'.
    """
    layer = first_dense(head)
    weight = layer.weight.double() / scale.double()
    layer.bias.copy_(layer.bias.double() - weight @ mean.double())
    layer.weight.copy_(weight)
