"""Trainable folding of a BatchNorm with fixed statistics into the convolution before it.

With fixed statistics, γ (W * x - μ) / √(σ² + ε) + β is a convolution with weight s W and bias β - s μ, where
s = γ / √(σ² + ε). Gradients reach W, γ and β through that product of small tensors: the norm needs no pass
over the activations, forward or backward, and stores none.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

import torch
from torch import Tensor, fx, nn

from transfer_core.backbones.tracing import Tracer, replace_submodule


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
    if not any(isinstance(module, nn.BatchNorm2d) for module in block.modules()):
        return block
    try:
        traced = fx.GraphModule(block, _Tracer().trace(block))
    except (TypeError, RuntimeError, fx.proxy.TraceError):
        return block
    return _joined(traced)


def _joined(traced: fx.GraphModule) -> fx.GraphModule:
    """Put a `FoldedConv` in the place of each convolution whose result only a BatchNorm takes."""
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or not norm.affine or norm.running_mean is None:
            continue
        before = node.args[0]
        conv = modules.get(str(before.target))
        alone = len(before.users) == calls[before.target] == calls[node.target] == 1
        if type(conv) is nn.Conv2d and alone:
            replace_submodule(traced, str(before.target), FoldedConv(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced


class _Tracer(Tracer):
    """Trace only modules that contain a norm; others may behave differently in training."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds_norm = any(isinstance(inner, nn.BatchNorm2d) for inner in m.modules())
        return not holds_norm or super().is_leaf_module(m, module_qualified_name)
