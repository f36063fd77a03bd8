"""HiResCAM: activations times gradients at the last block with spatial maps (Draelos and Carin 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone
from transfer_core.explain.case import Attribution, Case
from transfer_core.features.image_tensors import normalize
from transfer_core.heads.dense import DenseHead
from transfer_core.runtime.devices import torch_threads
from transfer_core.tasks.criteria import Array


def class_activation(case: Case) -> Attribution | None:
    """Explain an image by the last feature map of its backbone.

    With A (C, h, w) the map and s the score, the heatmap is the sum over channels of A · ∂s/∂A. With a linear
    head on the global average of A, it adds up to s minus its bias.
    """
    if not differentiable(case):
        return None
    # Several threads wait for each other longer than they compute, on a machine that is busy.
    with torch_threads(1):
        return _by_gradient(case)


def _by_gradient(case: Case) -> Attribution | None:
    backbone = case.backbone.module()
    place = last_map(backbone, image_tensor(case.loaded, backbone))
    if place is None:
        return None
    number, level, channels_last, x = place
    part = x if level is None else x[level]
    part = part.detach().requires_grad_()
    with torch.enable_grad():
        rest = part if level is None else (*x[:level], part, *x[level + 1 :])
        embedding = backbone.pool(backbone.blocks[number + 1 :](rest))
        (gradient,) = torch.autograd.grad(score_of(case, embedding), part)
    products = (part * gradient)[0].detach().sum(dim=2 if channels_last else 0)
    return Attribution(heatmap=products.double().numpy())


def differentiable(case: Case) -> bool:
    """Whether gradients of the score exist: a network of torch, and a head of dense layers."""
    facts = case.backbone.facts
    return facts.plain and facts.source != "scikit_learn" and isinstance(case.head, DenseHead)


def image_tensor(pixels: Array, backbone: Backbone) -> Tensor:
    """An image (H, W, 3) uint8 as the network takes it, (1, 3, H, W) float32."""
    batch = torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2)
    return normalize(batch, backbone.preprocessing, torch.float32)


def score_of(case: Case, embedding: Tensor) -> Tensor:
    """The score, a scalar with gradients, of an embedding (1, D)."""
    x = embedding.double()
    layers = sorted({int(name.partition(".")[0]) for name in case.head.state_dict()})
    arrays = {name: torch.as_tensor(array).double() for name, array in case.head.state_dict().items()}
    for layer in layers:
        x = x if layer == layers[0] else x.relu()
        x = nn.functional.linear(x, arrays[f"{layer}.weight"], arrays[f"{layer}.bias"])
    return x[0] @ torch.as_tensor(case.direction).double() + case.offset


@torch.no_grad()
def last_map(backbone: Backbone, x: Any) -> tuple[int, int | None, bool, Any] | None:
    """The last block with a spatial map: its number, the level in a tuple, whether channels are last, and its
    output."""
    declared = backbone.facts.feature_maps[-1] if backbone.facts.feature_maps else None
    if declared and declared.queries:
        return None
    found = None
    for number, (name, block) in enumerate(backbone.blocks.named_children()):
        x = block(x)
        if declared and name == declared.block:
            return number, declared.level, declared.channels_last, x
        if not declared and isinstance(x, Tensor) and x.ndim == 4:
            # Crops are square.
            _, first, second, third = x.shape
            if second == third > 1 or first == second > 1:
                found = number, None, second != third, x
    return found
