"""Heads as torch modules: for training by gradients."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from transfer_core.heads.dense import DenseHead
from transfer_core.heads.head import Head
from transfer_core.recipe.heads import LinearHead, MlpHead


def build_module(
    spec: LinearHead | MlpHead, width: int, outputs: int, generator: torch.Generator
) -> nn.Sequential:
    """Return a new module for features (N, `width`), with outputs (N, `outputs`).

    ReLU follows every hidden layer, dropout precedes each dense layer. The last layer is initialized to zero:
    with fewer examples than features, initial weights in directions that no example shows would remain as
    noise in every prediction. `generator` is the source of the initial weights.
    """
    hidden = spec.hidden if isinstance(spec, MlpHead) else ()
    widths = (width, *hidden, outputs)
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        if i > 0:
            layers.append(nn.ReLU())
        if spec.dropout > 0:
            layers.append(nn.Dropout(spec.dropout))
        layers.append(_dense(before, after, generator))
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def _dense(before: int, after: int, generator: torch.Generator) -> nn.Linear:
    """Return a dense layer with He-uniform weights (He et al. 2015, section 2.2) and zero bias."""
    with torch.random.fork_rng(devices=[]):  # nn.Linear draws weights, which are not used
        layer = nn.Linear(before, after)
    bound = (6 / before) ** 0.5
    with torch.no_grad():
        layer.weight.copy_(torch.rand(after, before, generator=generator) * 2 * bound - bound)
        layer.bias.zero_()
    return layer


def untrained_head(spec: object, width: int, outputs: int) -> DenseHead:
    """Return a head whose weights are replaced later."""
    assert isinstance(spec, LinearHead | MlpHead)
    return head_of(build_module(spec, width, outputs, torch.Generator()))


def module_of(head: Head, spec: object) -> nn.Sequential:
    """Return a copy of a dense head of `spec` as a module, to train further."""
    assert isinstance(head, DenseHead)
    assert isinstance(spec, LinearHead | MlpHead)
    module = build_module(spec, head.width, head.outputs, torch.Generator())
    module.load_state_dict({name: torch.from_numpy(array) for name, array in head.state_dict().items()})
    return module


def head_of(module: nn.Sequential) -> DenseHead:
    """Return a copy of a module as a head."""
    return DenseHead({name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()})
