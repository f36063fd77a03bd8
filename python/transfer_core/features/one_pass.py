"""On a CPU, a convolution with all that follows it at once: activation and residual sum while the result is
in the cache, and weights that lie in memory as the processor wants them.

These are oneDNN's post-operations, reached through the operators that torch's own compiler emits, without the
minutes that a compiler takes. Where weights are rounded, the bias makes up for it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from transfer_core.features.fuse import traced_block
from transfer_core.runtime.onednn import has_convolution

# In torch.fx's own words: a node of a graph calls one of these. The second may change what it adds to.
_SUMS, _SUMS_IN_PLACE = ("add",), ("iadd", "add_")


class Activation(NamedTuple):
    """oneDNN's name of a function and what it takes."""

    name: str = "none"
    numbers: tuple[float, ...] = ()


class OnePass(nn.Module):
    """activation(convolution(x) + other), with weights in `dtype`, laid out for inputs like `shape`."""

    def __init__(
        self,
        conv: nn.Conv2d,
        bias: Tensor | None,
        activation: Activation,
        shape: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._geometry = geometry
        self._activation = activation
        weight = conv.weight.detach().to(dtype)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(shape))
        self._bias = bias

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


def in_one_pass(
    block: nn.Module, example: Tensor, dtypes: Sequence[torch.dtype]
) -> tuple[list[nn.Module], Tensor]:
    """`block`, in eval mode, for inference in each of `dtypes`, and what it makes of `example`, an input.

    Biases compensate for the change that rounded weights cause in the average output for the example.
    Blocks that torch.fx can't trace, layers other than plain convolutions, and data types without fused
    operators on this CPU run with torch's public operators. `block` is not changed.
    """
    traced = block if isinstance(block, fx.GraphModule) else traced_block(block, nn.Conv2d)
    if traced is None:
        return [copy.deepcopy(block).to(dtype) for dtype in dtypes], block(example)
    passage = _Passage(traced)
    output = passage.run(example)
    return [
        _joined(traced, passage, dtype) if has_convolution(dtype) else copy.deepcopy(block).to(dtype)
        for dtype in dtypes
    ], output


class _Passage(fx.Interpreter):
    """Runs a graph once and keeps every tensor's shape, and the mean (C,) of what enters a convolution."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.means: dict[fx.Node, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        if node.op == "call_module" and _is_plain(self.submodules[str(node.target)]):
            self.means[node] = self.env[node.args[0]].mean(dim=(0, 2, 3))  # type: ignore[index]
        result = super().run_node(node)
        if isinstance(result, Tensor):
            self.shapes[node] = result.shape
        return result


def _joined(traced: fx.GraphModule, passage: _Passage, dtype: torch.dtype) -> fx.GraphModule:
    """A copy of `traced` in `dtype`, with its convolutions in one pass."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(traced.graph, copies))
    shapes = {copies[node]: shape for node, shape in passage.shapes.items() if node in copies}
    used = [str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")]
    parts = {name: copy.deepcopy(attrgetter(name)(traced)) for name in used}
    for conv, mean in passage.means.items():
        _absorb(copies[conv], mean, parts, shapes, dtype)
    graph.lint()
    return fx.GraphModule(parts, graph).to(dtype)


def _absorb(
    node: fx.Node,
    mean: Tensor,
    parts: dict[str, Any],
    shapes: dict[fx.Node, torch.Size],
    dtype: torch.dtype,
) -> None:
    """Put one node in the place of a convolution, whose input has that `mean`, of a sum that takes its result
    and of the activation after it."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    conv = parts[str(node.target)]
    bias = _bias_after_rounding(conv, mean, dtype)
    replaced, inputs = [node], [source]
    total = _only_user(node)
    other = _other_summand(total, node) if total else None
    # In a sum the bias must be rounded: worth it for a ReLU after it, and two passes less instead of one.
    worth_it = dtype == torch.float32 or (total and _activation(_only_user(total), parts) == RELU)
    if total and other and worth_it and shapes.get(other) == shapes[node]:
        replaced, inputs = [node, total], [source, other]
        bias = None if bias is None else bias.to(dtype)
    after = _only_user(replaced[-1])
    activation = _activation(after, parts)
    if after and activation and (replaced == [node] or activation == RELU):
        replaced.append(after)
    else:
        activation = None
    name = f"one_pass_{node.name}"
    parts[name] = OnePass(conv, bias, activation or Activation(), shapes[source], dtype)
    with node.graph.inserting_before(replaced[-1]):
        one = node.graph.call_module(name, tuple(inputs))
    shapes[one] = shapes[replaced[-1]]
    replaced[-1].replace_all_uses_with(one)
    for old in reversed(replaced):
        node.graph.erase_node(old)


def _bias_after_rounding(conv: nn.Conv2d, mean: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The bias with which weights in `dtype` give the same average output as the weights as they are, for
    inputs of that `mean` (C,).

    Nagel et al. (2019), Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2.
    """
    weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
    if dtype == weight.dtype:
        return bias
    lost = (weight - weight.to(dtype).float()).sum(dim=(2, 3))
    shift = (lost.view(conv.groups, -1, lost.shape[1]) @ mean.view(conv.groups, -1, 1)).flatten()
    return shift if bias is None else bias + shift


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


def _activation(node: fx.Node | None, parts: dict[str, Any]) -> Activation | None:
    """What oneDNN calls the function of a node, if it knows it."""
    if node is None:
        return None
    if node.op == "call_module":
        module = parts[str(node.target)]
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
