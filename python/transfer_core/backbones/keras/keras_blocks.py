"""Group Keras' layers into named blocks, split where a single tensor passes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import fx, nn

from transfer_core.backbones.keras.keras_graph import Graph, is_cut
from transfer_core.backbones.keras.keras_modules import Average, Luminance
from transfer_core.backbones.keras.keras_network import Network, Piece

# Prefixes of layers of one block in Keras' own models: `block_1_expand`, `conv2_block1_1_conv`,
# `block2a_dwconv`, `expanded_conv_3_project`.
_STAGE = re.compile(r".*?block_?\d+(?:[a-z](?![a-z0-9]))?|expanded_conv(?:_\d+)?")
_POOLS = re.compile(r"Global\w+Pooling|AveragePooling|MaxPooling|Flatten|Reshape")


@dataclass
class _Group:
    """A block in the making: consecutive layers, among them at most one branching segment."""

    pieces: list[Piece]
    stage: str | None
    heavy: bool
    branches: bool

    def takes(self, other: _Group) -> bool:
        """Whether the next segment belongs to this block: the same stage, or no large weights."""
        if not self.heavy:
            return True
        if other.stage not in (None, self.stage):
            return False
        return not other.heavy or (other.stage is not None and not (self.branches and other.branches))

    def extend(self, other: _Group) -> None:
        self.stage = self.stage if self.heavy else other.stage
        self.pieces += other.pieces
        self.heavy |= other.heavy
        self.branches |= other.branches

    @property
    def name(self) -> str:
        """The name of the last sum or concatenation, or of the first layer with weights."""
        merges = [piece for piece in self.pieces if len(piece.node.inputs) > 1]
        heavy = [piece for piece in self.pieces if piece.heavy]
        return (merges[-1:] or heavy or self.pieces)[0].name


def arrange(network: Network) -> tuple[dict[str, nn.Module], nn.Module]:
    """Make the blocks, and the pooling of the last block's output to (N, embedding_width).

    A block is a part between two places where a single tensor passes, with one layer or branching segment
    with weights; in Keras' own models, the layers with a common prefix (`block_1`).
    """
    body, pool = _without_pool(network.pieces)
    blocks: dict[str, nn.Module] = {}
    source = network.graph.source
    for name, group in _named(_groups(network.graph, body)).items():
        first = Luminance() if not blocks and network.graph.shape[2] == 1 else None
        blocks[name] = _module(group.pieces, source, first)
        source = group.pieces[-1].node.name
    pooled: list[nn.Module] = [_module(pool, source)] if pool else []
    if len(network.shape) > 2:
        places = range(2, 4) if len(network.shape) == 4 else range(1, len(network.shape) - 1)
        pooled.append(Average(tuple(places), keep=False))
    return blocks, nn.Sequential(*pooled)


def _without_pool(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Split the pieces before the pooling after the last one with weights."""
    last = max((i for i, piece in enumerate(pieces) if _weighs(piece)), default=-1)
    for number in range(last + 1, len(pieces)):
        if _POOLS.match(pieces[number].node.kind):
            return pieces[:number], pieces[number:]
    return pieces, ()


def _weighs(piece: Piece) -> bool:
    return any(True for module in piece.steps.values() for _ in module.parameters())


def _groups(graph: Graph, pieces: Sequence[Piece]) -> list[_Group]:
    groups: list[_Group] = []
    for segment in _segments(graph, pieces):
        if groups and groups[-1].takes(segment):
            groups[-1].extend(segment)
        else:
            groups.append(segment)
    return groups


def _segments(graph: Graph, pieces: Sequence[Piece]) -> Iterator[_Group]:
    start = 0
    for end in range(1, len(pieces) + 1):
        if end == len(pieces) or is_cut(graph, end):
            part = list(pieces[start:end])
            yield _Group(part, _stage(part), any(piece.heavy for piece in part), branches=len(part) > 1)
            start = end


def _stage(pieces: Sequence[Piece]) -> str | None:
    """The common prefix in the names of the layers or of their nested models."""
    names = [name for piece in pieces for name in reversed(piece.node.layer[-2:])]
    return next((found[0].replace(".", "_") for found in map(_STAGE.match, names) if found), None)


def _named(groups: Sequence[_Group]) -> dict[str, _Group]:
    """Groups by the name of their stage if it is unique, or else by the name of a layer."""
    stages = Counter(group.stage for group in groups)
    return {
        group.stage if group.stage and stages[group.stage] == 1 else group.name: group for group in groups
    }


def _module(pieces: Sequence[Piece], source: str, first: nn.Module | None = None) -> fx.GraphModule:
    """Join pieces to one module with the input `source`, which passes `first` before."""
    graph, root = fx.Graph(), nn.Module()
    results = {source: graph.placeholder("x")}

    def call(name: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        root.add_module(name, module)
        return graph.call_module(name, inputs)

    if first:
        results[source] = call("luminance", first, results[source])
    for piece in pieces:
        inputs = [results[name] for name in piece.node.inputs]
        for suffix, module in piece.steps.items():
            inputs = [call(piece.name + suffix, module, *inputs)]
        (results[piece.node.name],) = inputs
    graph.output(results[pieces[-1].node.name])
    return fx.GraphModule(root, graph)
