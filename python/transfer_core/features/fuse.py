"""Folds BatchNorm into the convolution before it: the same function, in one pass over memory less.

With frozen statistics, γ (W * x + b - μ) / √(σ² + ε) + β is a convolution with weight γ W / √(σ² + ε) and
bias γ (b - μ) / √(σ² + ε) + β (Jacob et al. 2018, section 3.2).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from transfer_core.backbones import Backbone
from transfer_core.backbones.tracing import Tracer, replace_submodule

Join: TypeAlias = Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Module]


def fuse(backbone: Backbone) -> nn.Module:
    """A copy of `backbone` for inference only, in eval mode, with every foldable BatchNorm folded.

    `backbone` itself is left untouched; blocks that torch.fx can't trace keep their BatchNorm.
    """
    fused = copy.deepcopy(backbone).eval().requires_grad_(False)
    for name, block in list(fused.blocks.named_children()):
        fused.blocks._modules[name] = _fuse_block(block)
    return fused


def traced_block(
    block: nn.Module, kind: type[nn.Module], tracer: fx.Tracer | None = None
) -> fx.GraphModule | None:
    """The block as a graph, if it has a module of `kind` and torch.fx can trace it."""
    if not any(isinstance(module, kind) for module in block.modules()):
        return None
    try:
        return fx.GraphModule(block, (tracer or Tracer()).trace(block))
    except (TypeError, RuntimeError, fx.proxy.TraceError):
        return None


def join_norms(traced: fx.GraphModule, join: Join) -> fx.GraphModule:
    """Put `join(convolution, norm)` in the place of each convolution whose result only a BatchNorm takes."""
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
            replace_submodule(traced, str(before.target), join(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced


def _fuse_block(block: nn.Module) -> nn.Module:
    traced = traced_block(block, nn.BatchNorm2d)
    return block if traced is None else join_norms(traced, fuse_conv_bn_eval)
