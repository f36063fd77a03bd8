"""Facts of Keras' models, without reading weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.keras.keras_architecture import Architecture, of_application, of_file
from transfer_core.backbones.keras.keras_blocks import arrange
from transfer_core.backbones.keras.keras_network import build
from transfer_core.backbones.keras.keras_published import CODE, published
from transfer_core.backbones.registry import bare_name
from transfer_core.backbones.weights import OWN_TERMS

# Pixels from 0 to 255, as from Keras' image loaders.
_AS_THEY_ARE = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))


@lru_cache(maxsize=8)
def application(name: str) -> BackboneFacts:
    """The facts of `keras/NAME`."""
    known, architecture = published(bare_name(name)), of_application(name)
    network = build(architecture.graph, architecture.size, trust=False)
    blocks, _ = arrange(network)
    maps, tokens = describe_outputs(blocks, architecture.size, "meta")
    return BackboneFacts(
        name=name,
        source="keras",
        family=known.family,
        paper=known.paper,
        arxiv=known.arxiv,
        code_license="Apache-2.0",
        code_url=f"{CODE}/keras/src/applications/{known.family}.py",
        embedding_width=network.width,
        parameters=known.parameters,
        backbone_parameters=network.parameters,
        default=known.weights.name,
        blocks=tuple(blocks),
        weights=(known.weights,),
        feature_maps=maps,
        token_states=tokens,
    )


def file(name: str, path: Path, trust: bool) -> BackboneFacts:
    """The facts of the model in a `.keras` file."""
    architecture = of_file(path, trust)
    network = build(architecture.graph, architecture.size, trust)
    blocks, _ = arrange(network)
    maps, tokens = describe_outputs(blocks, architecture.size, "meta")
    weights = WeightsFacts(
        name=path.name,
        file=path.name,
        bytes=path.stat().st_size,
        preprocessing=Preprocessing(architecture.size, architecture.size, "bilinear", *_AS_THEY_ARE),
        terms=OWN_TERMS,
    )
    return BackboneFacts(
        name=name,
        source="keras",
        family=str(architecture.config["config"].get("name")),
        paper="unknown",
        arxiv="",
        code_license="unknown",
        code_url="",
        embedding_width=network.width,
        parameters=network.parameters + _in_classifier(architecture),
        backbone_parameters=network.parameters,
        default=weights.name,
        blocks=tuple(blocks),
        weights=(weights,),
        feature_maps=maps,
        token_states=tokens,
        plain=not any(piece.foreign for piece in network.pieces),
    )


def _in_classifier(architecture: Architecture) -> int:
    """Number of parameters of the dropped classifier."""
    left_out = architecture.whole.nodes[len(architecture.graph.nodes) :]
    return sum(
        (node.entry["build_config"]["input_shape"][-1] + node.config["use_bias"]) * node.config["units"]
        for node in left_out
        if node.kind == "Dense" and node.entry.get("build_config")
    )
