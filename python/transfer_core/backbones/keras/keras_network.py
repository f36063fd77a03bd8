"""Build torch modules, without values, from a graph of Keras' layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from transfer_core.backbones.keras.keras_computed_layer import Foreign
from transfer_core.backbones.keras.keras_graph import Graph, Node
from transfer_core.backbones.keras.keras_layers import Steps, counterpart
from transfer_core.backbones.keras.keras_modules import Luminance
from transfer_core.runtime.errors import Problem, RecipeError


@dataclass(frozen=True)
class Piece:
    """A call of a layer as a sequence of modules; `name` is that of the layer's first call."""

    node: Node
    name: str
    steps: Steps

    @property
    def foreign(self) -> bool:
        """Whether Keras runs it."""
        return isinstance(self.steps.get(""), Foreign)

    @property
    def heavy(self) -> bool:
        """Whether it has more weights than a scale and a shift."""
        tensors = (p for module in self.steps.values() for p in module.parameters())
        return self.node.kind != "LayerScale" and any(tensor.dim() > 1 for tensor in tensors)


@dataclass(frozen=True)
class Network:
    """The pieces in the order of execution; `shape` is that of the result, in torch's layout."""

    graph: Graph
    pieces: tuple[Piece, ...]
    shape: Size

    @property
    def width(self) -> int:
        """The embedding width: channels after averaging over places."""
        return self.shape[1] if len(self.shape) == 4 else self.shape[-1]

    @property
    def parameters(self) -> int:
        """Number of parameters; shared ones count once."""
        modules = {id(module): module for piece in self.pieces for module in piece.steps.values()}
        return sum(p.numel() for module in modules.values() for p in module.parameters())

    @property
    def scales_pixels(self) -> bool:
        """Whether pixels are rescaled before the first layer with weights."""
        front = itertools.takewhile(lambda piece: not piece.heavy, self.pieces)
        return any(piece.node.kind.startswith(("Rescaling", "Normalization", "ops.")) for piece in front)


def build(graph: Graph, size: int, trust: bool) -> Network:
    """Build the modules of each node on torch's `meta` device.

    Parameters
    ----------
    graph
        The layers.
    size
        Side of the images in pixels.
    trust
        Whether code of layers that Keras runs may be created.

    Raises
    ------
    RecipeError
        At `backbone`, if a layer has inputs of several sizes.
    """
    image = torch.zeros(1, 3, size, size, device="meta")
    results = {graph.source: Luminance()(image) if graph.shape[2] == 1 else image}
    first_calls: dict[tuple[str, ...], tuple[Piece, list[Size]]] = {}
    pieces = []
    for node in graph.nodes:
        inputs = [results[name] for name in node.inputs]
        shapes = [x.shape for x in inputs]
        piece, before = first_calls.setdefault(node.layer, (_piece(node, shapes, trust), shapes))
        if shapes != before:
            message = (
                f"its layer {node.layer[-1]} is used for inputs of several sizes, which is not supported"
            )
            raise RecipeError([Problem("backbone", message)])
        pieces.append(Piece(node, piece.name, piece.steps))
        results[node.name] = _run(piece.steps, inputs)
    return Network(graph, tuple(pieces), results[graph.nodes[-1].name].shape)


def _piece(node: Node, shapes: Sequence[Size], trust: bool) -> Piece:
    with torch.device("meta"):
        steps = counterpart(node, shapes)
    steps = steps or {"": Foreign(node, [len(shape) for shape in shapes], trust)}
    return Piece(node, node.name, {suffix: module.eval() for suffix, module in steps.items()})


@torch.no_grad()
def _run(steps: Steps, inputs: Sequence[Tensor]) -> Tensor:
    first, *further = steps.values()
    result: Tensor = first(*inputs)
    for step in further:
        result = step(result)
    return result
