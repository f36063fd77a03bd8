"""Trainable folding of a BatchNorm with fixed statistics into the convolution before it.

With fixed statistics, γ (W * x - μ) / √(σ² + ε) + β is a convolution with weight s W and bias β - s μ, where
s = γ / √(σ² + ε). Gradients reach W, γ and β through that product of small tensors: the norm needs no pass
over the activations, forward or backward, and stores none.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from transfer_core.backbones.tracing import Tracer
from transfer_core.features.fuse import join_norms, traced_block


class FoldedConv(nn.Module):
    """`norm(conv(x))` with the norm in eval mode as one convolution, on the same parameters."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        conv, norm = self.conv, self.norm
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = torch.rsqrt(variance + norm.eps) * norm.weight
        shift = norm.bias - scale * (mean if conv.bias is None else mean - conv.bias)
        folded: Tensor = conv._conv_forward(x, conv.weight * scale.view(-1, 1, 1, 1), shift)
        return folded


def fold_norms(block: nn.Module) -> nn.Module:
    """Return the function of `block` with its norms in eval mode, on the same parameters.

    A block that torch.fx cannot trace is returned unchanged.
    """
    traced = traced_block(block, nn.BatchNorm2d, _Tracer())
    return block if traced is None else join_norms(traced, FoldedConv)


class _Tracer(Tracer):
    """Trace only modules that contain a norm; others may behave differently in training."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds_norm = any(isinstance(inner, nn.BatchNorm2d) for inner in m.modules())
        return not holds_norm or super().is_leaf_module(m, module_qualified_name)
