"""On a CPU, a convolution with all that follows it at once: activation and residual sum while the result is
in the cache, and weights that lie in memory as the processor wants them.

These are oneDNN's post-operations, reached through the operators that torch's own compiler emits, without the
minutes that a compiler takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from transfer_core.features.fuse import traced_block

# In torch.fx's own words: a node of a graph calls one of these. The second may change what it adds to.
_SUMS, _SUMS_IN_PLACE = ("add",), ("iadd", "add_")


class Activation(NamedTuple):
    """oneDNN's name of a function and what it takes."""

    name: str = "none"
    numbers: tuple[float, ...] = ()


class OnePass(nn.Module):
    """activation(convolution(x) + other), with weights in `dtype`, laid out for inputs like `shape`."""

    def __init__(
        self, conv: nn.Conv2d, activation: Activation, shape: Sequence[int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._geometry = geometry
        self._activation = activation
        weight = conv.weight.detach().to(dtype)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(shape))
        self._bias = None if conv.bias is None else conv.bias.detach().to(dtype)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'), the shape of `other` if there is one."""
        name, numbers = self._activation.name, list(self._activation.numbers)
        convolution = torch.ops.mkldnn._convolution_pointwise
        result: Tensor
        if other is None:
            result = convolution(x, self._weight, self._bias, *self._geometry, name, numbers, "")
        else:
            last = None if name == "none" else name
            result = convolution.binary(
                x, other, self._weight, self._bias, *self._geometry, "add", 1.0, last, numbers, ""
            )
        return result


def in_one_pass(block: nn.Module, example: Tensor, dtype: torch.dtype) -> nn.Module:
    """`block`, in eval mode, for inference in `dtype`; `example` is an input of it, of any values.

    What torch.fx can't trace, and whatever is no plain convolution, is computed as ever.
    """
    traced = traced_block(block, nn.Conv2d)
    if traced is None:
        return block.to(dtype)
    shapes = _Shapes(traced)
    shapes.run(example)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and _is_plain(modules[node.target]):
            _absorb(node, traced, modules, shapes.of, dtype)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced.to(dtype)


class _Shapes(fx.Interpreter):
    """Runs a graph once and keeps the shape of every tensor."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.of: dict[fx.Node, torch.Size] = {}

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if isinstance(result, Tensor):
            self.of[node] = result.shape
        return result


def _absorb(
    conv: fx.Node,
    traced: fx.GraphModule,
    modules: dict[str, nn.Module],
    shapes: dict[fx.Node, torch.Size],
    dtype: torch.dtype,
) -> None:
    """Put one node in the place of `conv`, of a sum that takes its result and of the activation after it."""
    source = conv.args[0]
    assert isinstance(source, fx.Node)
    last, inputs = conv, [source]
    total = _only_user(conv)
    other = _other_summand(total, conv) if total else None
    if total and other and shapes.get(other) == shapes[conv]:
        last, inputs = total, [source, other]
    after = _only_user(last)
    activation = _activation(after, modules) if after else None
    if after and activation and (last is conv or activation == RELU):
        last = after
    else:
        activation = None
    module = OnePass(modules[str(conv.target)], activation or Activation(), shapes[source], dtype)  # type: ignore[arg-type]
    name = f"one_pass_{conv.name}"
    traced.add_submodule(name, module)
    with traced.graph.inserting_before(last):
        one = traced.graph.call_module(name, tuple(inputs))
    shapes[one] = shapes[last]
    last.replace_all_uses_with(one)
    traced.graph.eliminate_dead_code()


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_plain(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    )


def _other_summand(node: fx.Node, conv: fx.Node) -> fx.Node | None:
    """What `node` adds to `conv`'s result, if it is a plain sum."""
    named = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    sums = _SUMS + _SUMS_IN_PLACE if node.args[:1] == (conv,) else _SUMS
    if node.op not in ("call_function", "call_method") or named not in sums or node.kwargs:
        return None
    others = [arg for arg in node.args if arg is not conv]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _activation(node: fx.Node, modules: dict[str, nn.Module]) -> Activation | None:
    """What oneDNN calls the function of a node, if it knows it."""
    if node.op == "call_module":
        module = modules.get(str(node.target))
        if isinstance(module, nn.Hardtanh):
            return Activation("hardtanh", (module.min_val, module.max_val))
        return _NAMES.get(type(module))
    return _NAMES.get(node.target) if node.op == "call_function" else None


# The only one that oneDNN takes after a sum.
RELU = Activation("relu")

_NAMES: dict[Any, Activation] = {
    nn.ReLU: RELU,
    functional.relu: RELU,
    torch.relu: RELU,
    nn.SiLU: Activation("swish"),
    nn.Hardswish: Activation("hardswish"),
    nn.Sigmoid: Activation("sigmoid"),
    nn.Hardsigmoid: Activation("hardsigmoid"),
}
