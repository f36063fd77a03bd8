"""From a graph of Keras' layers to torch modules, without values yet."""

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
    """A call of a layer, whose modules run one after the other; `name` is that of the layer's first call."""

    node: Node
    name: str
    steps: Steps

    @property
    def foreign(self) -> bool:
        """Whether Keras computes it."""
        return isinstance(self.steps.get(""), Foreign)

    @property
    def heavy(self) -> bool:
        """Whether it has more weights than a scale and a shift."""
        tensors = (p for module in self.steps.values() for p in module.parameters())
        return self.node.kind != "LayerScale" and any(tensor.dim() > 1 for tensor in tensors)


@dataclass(frozen=True)
class Network:
    """The pieces in the order in which they run; `shape` is that of the last one's result, in our order."""

    graph: Graph
    pieces: tuple[Piece, ...]
    shape: Size

    @property
    def width(self) -> int:
        """The numbers in an embedding: channels, averaged over all places."""
        return self.shape[1] if len(self.shape) == 4 else self.shape[-1]

    @property
    def parameters(self) -> int:
        """How many there are, each once."""
        modules = {id(module): module for piece in self.pieces for module in piece.steps.values()}
        return sum(p.numel() for module in modules.values() for p in module.parameters())

    @property
    def scales_pixels(self) -> bool:
        """Whether something is done to the pixels before the first weights."""
        front = itertools.takewhile(lambda piece: not piece.heavy, self.pieces)
        return any(piece.node.kind.startswith(("Rescaling", "Normalization", "ops.")) for piece in front)


def build(graph: Graph, size: int, trust: bool) -> Network:
    """Modules on torch's `meta` device for each node; the image is (N, 3, size, size).

    Raises
    ------
    RecipeError
        At `backbone`, if a layer is used for inputs of several sizes.
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
