"""A convolution and the BatchNorm after it as one convolution that still trains like both.

While the statistics stand still, γ (W * x - μ) / √(σ² + ε) + β is a convolution with weight s W and bias
β - s μ, where s = γ / √(σ² + ε). Gradients reach W, γ and β through that product of small tensors: no pass
over the activations is spent on the norm, forward or backward, and nothing is kept for it in between.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from transfer_core.backbones.tracing import Tracer
from transfer_core.features.fuse import join_norms, traced_block


class FoldedConv(nn.Module):
    """`norm(conv(x))` with the norm in eval mode, by one convolution; the parameters are theirs."""

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
    """The same function as `block` with its norms in eval mode, on the same parameters.

    A block that torch.fx can't trace comes back as it is.
    """
    traced = traced_block(block, nn.BatchNorm2d, _Tracer())
    return block if traced is None else join_norms(traced, FoldedConv)


class _Tracer(Tracer):
    """Looks only into modules that hold a norm: what does other things in training stays as it is."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds_norm = any(isinstance(inner, nn.BatchNorm2d) for inner in m.modules())
        return not holds_norm or super().is_leaf_module(m, module_qualified_name)
