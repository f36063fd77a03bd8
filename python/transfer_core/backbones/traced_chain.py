"""Cut any network into a chain of modules wherever a single tensor passes, with torch.fx.

The forward pass is traced with a real input beside it, so all sizes but the batch size are known: code that
depends on sizes runs as usual for inputs of that size, and values that don't depend on the images become
constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from transfer_core.backbones.tracing import Tracer

Forward = Callable[[Any, Tensor], Tensor]
Descends = Callable[[nn.Module], bool]


class Link(NamedTuple):
    """A part of the forward pass with one input and one output tensor.

    `paths` are the paths of the network's modules that it calls, in order.
    """

    module: nn.Module
    paths: tuple[str, ...]


def chain_of(network: nn.Module, forward: Forward, example: Tensor, descends: Descends) -> list[Link]:
    """Split `forward(network, images)` into as many links as possible.

    Run one after the other, the links compute the same. A link is a module of the network itself, or a graph
    that calls several; all share their parameters with the network.

    Parameters
    ----------
    network
        In eval mode.
    forward
        The forward pass: network, images (N, 3, H, W) -> a tensor.
    example
        An input, (N, 3, H, W). Later inputs must have the same sizes, apart from N.
    descends
        Whether to trace into a module instead of calling it as a whole. A module that can't be traced is
        called as a whole in any case.

    Raises
    ------
    Exception
        Any error of torch.fx if it can't trace `forward` itself.
    """
    whole = _Whole(network, forward).eval()
    tracer = _Tracer(example, descends)
    with torch.no_grad():
        steps = _Steps(tracer.trace(whole), tracer.values, whole)
    ends = [i for i in range(1, len(steps.varying)) if steps.can_end(i)]
    return [steps.link(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


class _Whole(nn.Module):
    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network = network
        self._forward = forward

    def forward(self, images: Tensor) -> Tensor:
        return self._forward(self.network, images)


class _Sized(fx.Proxy):
    """Proxy of a value that is known for the example: all its sizes but the batch size are numbers."""

    tracer: _Tracer

    def __getattr__(self, name: str) -> Any:
        if isinstance(self._value, Tensor):
            if name == "shape":
                return self.size()
            if name in ("ndim", "dtype", "device", "is_cuda", "requires_grad"):
                return getattr(self._value, name)
        return super().__getattr__(name)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._value, tuple | list):
            return iter([self[i] for i in range(len(self._value))])
        return super().__iter__()

    def __getitem__(self, item: Any) -> Any:
        if isinstance(self._value, tuple | list) and _is_numbers(self._value[item]):
            return self._value[item]  # sizes of the feature map
        return super().__getitem__(item)  # type: ignore[misc]

    def size(self, dim: int | None = None) -> Any:
        sizes: tuple[Any, ...] = tuple(self._value.shape)
        if sizes and self.node in self.tracer.varying:
            sizes = (self.tracer.number_of_images(self), *sizes[1:])
        return sizes if dim is None else sizes[dim]

    def dim(self) -> int:
        return int(self._value.dim())

    @property
    def _value(self) -> Any:
        return self.tracer.values.get(self.node)


class _Tracer(Tracer):
    """Tracer that also runs each recorded step on the example."""

    def __init__(self, example: Tensor, descends: Descends) -> None:
        super().__init__()
        self.values: dict[fx.Node, Any] = {}
        self.varying: set[fx.Node] = set()
        self._example = example
        self._descends = descends
        self._taken_whole: set[nn.Module] = set()
        self._counted: dict[fx.Node, fx.Proxy] = {}
        self._computing = False

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Sized(node, self)

    def number_of_images(self, tensor: fx.Proxy) -> fx.Proxy:
        """Record the batch size of a tensor, once per tensor."""
        if tensor.node not in self._counted:
            self._counted[tensor.node] = self.create_proxy("call_method", "size", (tensor, 0), {})
        return self._counted[tensor.node]

    def create_proxy(self, kind: str, *args: Any, **kwargs: Any) -> fx.Proxy:
        proxy = super().create_proxy(kind, *args, **kwargs)
        node = proxy.node
        if kind == "placeholder":
            self.values[node] = self._example
            self.varying.add(node)
        elif kind != "output":
            self.values[node] = self._computed(node)
            if any(before in self.varying for before in node.all_input_nodes):
                self.varying.add(node)
        return proxy

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m in self._taken_whole or not self._descends(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._computing or self.is_elsewhere():
            return forward(*args, **kwargs)
        last, stack = next(iter(reversed(self.graph.nodes))), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.is_leaf_module(m, ""):
                raise
        self._forget_after(last)
        self.module_stack = stack
        self._taken_whole.add(m)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        # Without the cache, which would return proxies of steps that were erased.
        return attr_val if self._computing else super().getattr(attr, attr_val, {})

    def _computed(self, node: fx.Node) -> Any:
        args, kwargs = _plain(fx.node.map_arg((node.args, node.kwargs), self._known))
        self._computing = True
        try:
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            if node.op == "get_attr":
                return attribute(self.root, str(node.target))
            if node.op == "call_module":
                return attribute(self.root, str(node.target))(*args, **kwargs)
            assert callable(node.target)
            return node.target(*args, **kwargs)
        finally:
            self._computing = False

    def _known(self, node: fx.Node) -> Any:
        # torch.fx records attributes that are passed on unchanged without making a proxy of them.
        return self.values[node] if node in self.values else attribute(self.root, str(node.target))

    def _forget_after(self, last: fx.Node) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node is last:
                return
            self.graph.erase_node(node)
            self._counted = {tensor: n for tensor, n in self._counted.items() if n.node is not node}


class _Steps:
    """The steps of a forward pass that depend on its input; the first is the input itself."""

    def __init__(self, graph: fx.Graph, values: dict[fx.Node, Any], whole: _Whole) -> None:
        _drop_unused(graph)
        self._values = values
        self._whole = whole
        self._position: dict[fx.Node, int] = {}
        for node in graph.nodes:
            if node.op == "placeholder" or any(before in self._position for before in node.all_input_nodes):
                self._position[node] = len(self._position)
        *self.varying, _output = self._position
        self._last_use = [
            max([self._position[user] for user in node.users], default=0) for node in self.varying
        ]
        self._parameters = [self._parameters_of(node) for node in self.varying]

    def can_end(self, i: int) -> bool:
        """Whether a link can end with step `i`: later steps use only its result, and share no parameters with
        earlier ones."""
        node = self.varying[i]
        needed = (
            before for before, last in zip(self.varying[: i + 1], self._last_use, strict=False) if last > i
        )
        alone = all(before is node or self._counts_images(before, node) for before in needed)
        before, after = (
            set[int]().union(*self._parameters[: i + 1]),
            set[int]().union(*self._parameters[i + 1 :]),
        )
        return alone and isinstance(self._values[node], Tensor) and not before & after

    def link(self, begin: int, end: int) -> Link:
        """Make a link of the steps after `begin` up to `end`."""
        graph = fx.Graph()
        images = graph.placeholder("images")
        copies = {self.varying[begin]: images}

        def copied(node: fx.Node) -> fx.Node:
            if node not in copies:
                counts = self._position.get(node, end) <= begin  # the only thing that may come from before
                copies[node] = (
                    graph.call_method("size", (images, 0)) if counts else graph.node_copy(node, copied)
                )
            return copies[node]

        graph.output(copied(self.varying[end]))
        calls = [node for node in graph.nodes if node.op == "call_module"]
        paths = tuple(_bare(node) for node in calls)
        if len(graph.nodes) == 3 and calls and calls[0].args == (images,) and not calls[0].kwargs:
            return Link(attribute(self._whole, str(calls[0].target)), paths)
        return Link(self._graph_module(graph), paths)

    def _graph_module(self, graph: fx.Graph) -> fx.GraphModule:
        parts = {}
        for node in graph.nodes:
            if node.op in ("call_module", "get_attr"):
                found = attribute(self._whole, str(node.target))
                node.target = _bare(node)
                parts[node.target] = found
        module = fx.GraphModule(parts, graph)
        saved = {id(tensor) for tensor in self._whole.state_dict(keep_vars=True).values()}
        for path, buffer in module.named_buffers():
            if id(buffer) not in saved:
                owner, _, name = path.rpartition(".")
                module.get_submodule(owner)._non_persistent_buffers_set.add(name)
        return module

    def _counts_images(self, node: fx.Node, boundary: fx.Node) -> bool:
        """Whether `node` is the batch size, which can be read from any tensor between links."""
        if node.op != "call_method" or node.target != "size":
            return False
        value = self._values[boundary]
        return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == self._values[node]

    def _parameters_of(self, node: fx.Node) -> set[int]:
        """The parameters that a step uses, by identity."""
        found: set[int] = set()
        if node.op == "call_module":
            found = {id(parameter) for parameter in attribute(self._whole, str(node.target)).parameters()}
        elif node.op == "get_attr":
            value = attribute(self._whole, str(node.target))
            found = {id(value)} if isinstance(value, nn.Parameter) else found
        constants = (before for before in node.all_input_nodes if before not in self._position)
        return found.union(*(self._parameters_of(before) for before in constants))


def attribute(module: nn.Module, path: str) -> Any:
    """Get the attribute at the path `a.b.c` of a module."""
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)


def _drop_unused(graph: fx.Graph) -> None:
    """Erase steps without a use, such as assertions, which held for the example."""
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _bare(node: fx.Node) -> str:
    return str(node.target).removeprefix("network.")


def _plain(value: Any) -> Any:
    """Copy without torch.fx's immutable lists: some modules change their input in place."""
    if isinstance(value, tuple | list):
        plain = [_plain(v) for v in value]
        return tuple(plain) if isinstance(value, tuple) else plain
    return {key: _plain(v) for key, v in value.items()} if isinstance(value, dict) else value


def _is_numbers(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, Sequence) and all(isinstance(v, int) for v in value))
