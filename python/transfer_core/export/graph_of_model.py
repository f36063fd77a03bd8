"""A model as one ONNX graph, from its inputs to predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.backbones import Backbone
from transfer_core.backbones.graph import INPUTS, onnx_graph
from transfer_core.backbones.registry import is_fitted
from transfer_core.export.decoding import add_outputs
from transfer_core.export.heads import head_outputs
from transfer_core.export.images import image_input, normalized
from transfer_core.export.novelty import add_novelty
from transfer_core.export.operators import Graph, Value
from transfer_core.export.tables import table_embedding
from transfer_core.export.terms import terms_embedding
from transfer_core.export.texts import mean_of_windows, token_inputs
from transfer_core.export.transformers import through
from transfer_core.model_file.format import ModelHeader
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import ConfigurationError, RecipeError


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a model to export: header, recipe, state, backbone, and the arrays of its head and of its
    novelty detector by name; `digest` is that of the content of its file."""

    header: ModelHeader
    recipe: Recipe
    state: Any
    backbone: Backbone
    head: Mapping[str, npt.NDArray[Any]]
    digest: str = ""
    novelty: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def is_fitted(self) -> bool:
        """Whether the backbone is made of scikit-learn's transformers, and not of a network."""
        return is_fitted(self.backbone.facts)

    @property
    def has_types(self) -> bool:
        """Whether the network distinguishes the first and the second text of a pair."""
        types = getattr(self.backbone.blocks[0], "types", None)
        return types is not None and types.num_embeddings > 1

    @cached_property
    def chain(self) -> Any:
        """The fitted transformers and their reader; see `backbones.scikit_learn.transformer_chain`."""
        return self.backbone.blocks[0]


def network_of(parts: Parts) -> Any | None:
    """The network of the backbone as a ModelProto, from preprocessed inputs to embeddings; None without one.

    Raises
    ------
    ConfigurationError
        If the backbone can't be exported; the message has the reason.
    DependencyError
        If the package onnx is missing.
    """
    return None if parts.is_fitted else converted(partial(onnx_graph, parts.backbone))


def converted(convert: Callable[[], bytes]) -> Any:
    """The ONNX file that a function of `backbones.graph` returns, as a ModelProto.

    Raises
    ------
    ConfigurationError
        If the backbone can't be converted; the message has the reason.
    DependencyError
        If the package onnx is missing.
    """
    try:
        content = convert()
    except RecipeError as error:
        reason = error.problems[0].message
        raise ConfigurationError(f"{reason}. Fix: train with another backbone to export") from error
    import onnx

    return onnx.load_from_string(content)


def graph_of_model(parts: Parts, network: Any | None) -> Any:
    """The whole model as a ModelProto without metadata.

    Parameters
    ----------
    parts
        The model.
    network
        The result of `network_of`, perhaps in another precision.

    Raises
    ------
    ConfigurationError
        If head, backbone or a transformer can't be exported.
    """
    graph, header = Graph(), parts.header
    head = parts.recipe.head
    assert head, "tasks on embeddings have a head"
    embedding = _network_embedding(graph, parts, network) if network else _fitted_embedding(graph, parts)
    add_outputs(head_outputs(embedding, head, parts.head), header.task, len(header.labels), parts.state)
    add_novelty(embedding, parts.novelty)
    graph.output("embedding", embedding, ["N", header.embedding_width])
    return graph.model()


def _network_embedding(graph: Graph, parts: Parts, network: Any) -> Value:
    facts = parts.backbone.facts
    batch = network.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if batch > 1:
        raise ConfigurationError(
            f"{facts.name} takes {batch} inputs at a time, and an exported model any number. "
            "Fix: export that network with a dynamic first axis, and train again"
        )
    if facts.modality == "image":
        preprocessing = parts.backbone.preprocessing
        given = normalized(image_input(graph, preprocessing), preprocessing)
    else:
        given = token_inputs(graph, parts.has_types)
    try:
        (embedding,) = graph.inline(network, {INPUTS[facts.modality]: given}, (np.float32,))
    except ValueError as error:
        raise ConfigurationError(f"{facts.name} can't be exported: {error}") from error
    if facts.modality == "text" and parts.recipe.text.long == "window":
        embedding = mean_of_windows(embedding)
    return embedding


def _fitted_embedding(graph: Graph, parts: Parts) -> Value:
    reader, estimators = parts.chain.reader, parts.chain.estimators
    modality = parts.backbone.facts.modality
    if modality == "table":
        embedding = table_embedding(graph, reader.columns, estimators)
    elif modality == "text":
        embedding = terms_embedding(graph, reader.paired, estimators)
    else:
        pixels = image_input(graph, parts.backbone.preprocessing) / 255.0
        pixels = pixels.apply("Transpose", perm=[0, 2, 3, 1])
        pixels = pixels if reader.color else pixels.sum(3) / 3.0
        embedding = through(pixels.reshape(0, -1).cast(np.float64), estimators)
    return embedding.cast(np.float32)
