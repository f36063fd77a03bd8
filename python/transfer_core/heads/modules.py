"""The layers of a head: features (N, D) in, logits or scaled values (N, K) out."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from transfer_core.recipe import Head, LinearHead, MlpHead

# The features are never copied as a whole.
ROWS_AT_ONCE = 1024


def build_head(spec: Head, width: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """A head for features of `width` with `outputs` outputs, its weights drawn from `generator`.

    Every hidden layer is followed by ReLU; dropout stands before each dense layer.
    """
    assert isinstance(spec, LinearHead | MlpHead)
    hidden = () if isinstance(spec, LinearHead) else spec.hidden
    widths = (width, *hidden, outputs)
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        if i > 0:
            layers.append(nn.ReLU())
        if spec.dropout > 0:
            layers.append(nn.Dropout(spec.dropout))
        layers.append(_dense(before, after, generator))
    return nn.Sequential(*layers)


def _dense(before: int, after: int, generator: torch.Generator) -> nn.Linear:
    """A dense layer with He-uniform weights (He et al. 2015, section 2.2) and no bias yet."""
    with torch.random.fork_rng(devices=[]):  # nn.Linear draws weights of its own, which are not used
        layer = nn.Linear(before, after)
    bound = (6 / before) ** 0.5
    with torch.no_grad():
        layer.weight.copy_(torch.rand(after, before, generator=generator) * 2 * bound - bound)
        layer.bias.zero_()
    return layer


def first_dense(head: nn.Sequential) -> nn.Linear:
    """The layer that sees the features."""
    return next(layer for layer in head if isinstance(layer, nn.Linear))


def last_dense(head: nn.Sequential) -> nn.Linear:
    """The layer that gives the outputs."""
    return next(layer for layer in reversed(list(head)) if isinstance(layer, nn.Linear))


@torch.no_grad()
def fold_standardization(head: nn.Sequential, mean: Tensor, scale: Tensor) -> None:
    """Change `head`, fitted on (x - mean) / scale, so that it gives the same outputs for x.

    `mean` and `scale` are (D,). With W' = W / scale and b' = b - W' mean, W z + b = W' x + b'.
    """
    layer = first_dense(head)
    weight = layer.weight.double() / scale.double()
    layer.bias.copy_(layer.bias.double() - weight @ mean.double())
    layer.weight.copy_(weight)


def standardization(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and scale (D,) of `features` (N, D).

    The scale has a floor of one hundredth of its average: a feature that hardly ever fires in training
    must not be blown up when it does fire later.
    """
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in torch.split(features, ROWS_AT_ONCE):
        total += part.sum(dim=0, dtype=torch.float64)
    mean = (total / len(features)).to(features.dtype)
    for part in torch.split(features, ROWS_AT_ONCE):
        squares += (part - mean).square().sum(dim=0, dtype=torch.float64)
    deviation = (squares / len(features)).sqrt().to(features.dtype)
    floor = (0.01 * deviation.mean()).clamp_min(1e-12)
    return mean, deviation.clamp_min(floor)
