"""Text encoders of the hub: build them from config.json, and map their publishers' names of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from transfer_core.backbones.huggingface.deberta_layers import DisentangledLayer, Distances
from transfer_core.backbones.huggingface.encoder_layers import (
    ACTIVATIONS,
    BiasedLayer,
    Embeddings,
    Layer,
    Shape,
    draw,
)
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported


def network(config: Mapping[str, Any]) -> Network:
    """Build the encoder of a config.json with random weights: `embeddings`, `layer_0`, `layer_1` …

    Raises
    ------
    Unsupported
        For a feature that is not implemented.
    """
    family = _FAMILIES[config["model_type"]]
    shape = _shape(config, family)
    layer = partial(_layer, shape, config, family)
    blocks = {"embeddings": Embeddings(shape), **{f"layer_{i}": layer() for i in range(shape.layers)}}
    for block in blocks.values():
        block.apply(partial(draw, deviation=config.get("initializer_range", 0.02)))
    positions = shape.positions or config.get("max_position_embeddings", 512)
    return Network(
        blocks, dict(_published(family, shape.layers)), shape.width, positions - family.first_position
    )


@dataclass(frozen=True)
class _Family:
    """Names and features of an architecture family.

    Parameters
    ----------
    layers, layer
        The publisher's names of the list of layers, and of a layer's parts in the order of `_LAYER`.
    shared
        From the publisher's names of parts that all layers share to our names in each layer.
    words
        From BERT's words in config.json to this family's.
    first_position
        Row of the first token in the table of positions.
    has_types
        Whether there are token types.
    """

    layers: str
    layer: tuple[str, ...]
    shared: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    first_position: int = 0
    has_types: bool = True


def _layer(shape: Shape, config: Mapping[str, Any], family: _Family) -> nn.Module:
    if family is _DEBERTA:
        furthest = config.get("max_relative_positions", -1)
        furthest = furthest if furthest > 0 else config["max_position_embeddings"]
        return DisentangledLayer(shape, Distances(config["position_buckets"], furthest))
    return BiasedLayer(shape) if shape.distances else Layer(shape)


def _shape(config: Mapping[str, Any], family: _Family) -> Shape:
    words = {word: config.get(family.words.get(word, word), default) for word, default in _DEFAULTS.items()}
    if words["hidden_act"] not in ACTIVATIONS:
        raise Unsupported(f"the activation {words['hidden_act']}")
    if words["position_embedding_type"] != "absolute":
        raise Unsupported(f"the position_embedding_type {words['position_embedding_type']}")
    if config.get("is_decoder"):
        raise Unsupported("a decoder")
    if family is _DEBERTA:
        _check_deberta(config)
    return Shape(
        width=words["hidden_size"],
        embedding=config.get("embedding_size") or words["hidden_size"],
        layers=words["num_hidden_layers"],
        heads=words["num_attention_heads"],
        inner=words["intermediate_size"],
        vocabulary=words["vocab_size"],
        positions=words["max_position_embeddings"] if config.get("position_biased_input", True) else 0,
        first_position=family.first_position,
        types=words["type_vocab_size"] if family.has_types else 0,
        distances=config.get("relative_attention_num_buckets", 32) if family is _MPNET else 0,
        eps=words["layer_norm_eps"],
        activation=words["hidden_act"],
        dropout=words["hidden_dropout_prob"],
        attention_dropout=words["attention_probs_dropout_prob"],
    )


def _check_deberta(config: Mapping[str, Any]) -> None:
    """Check that it is of version 2 or 3."""
    kinds = config.get("pos_att_type") or ()
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    for is_supported, feature in (
        (config.get("relative_attention") and config.get("share_att_key"), "its attention"),
        ({kind.strip() for kind in kinds} == {"c2p", "p2c"}, "its pos_att_type"),
        (config.get("position_buckets", -1) > 0, "its lack of position_buckets"),
        ("layer_norm" in config.get("norm_rel_ebd", "none"), "its norm_rel_ebd"),
        (not config.get("conv_kernel_size"), "its convolution"),
        (config.get("embedding_size") in (None, config.get("hidden_size")), "its embedding_size"),
    ):
        if not is_supported:
            raise Unsupported(feature)


def _published(family: _Family, layers: int) -> Iterator[tuple[str, str]]:
    """Pairs of our name of a part and the publisher's."""
    yield from ((f"embeddings.{ours}", theirs) for ours, theirs in _EMBEDDINGS.items())
    for i in range(layers):
        yield from (
            (f"layer_{i}.{ours}", f"{family.layers}.{i}.{theirs}")
            for ours, theirs in zip(_LAYER, family.layer, strict=True)
        )
        yield from ((f"layer_{i}.{ours}", theirs) for theirs, ours in family.shared.items())


# Words of BERT's config.json with their defaults.
_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "position_embedding_type": "absolute",
}

_EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "project": "embeddings_project",
}

_LAYER = ("query", "key", "value", "attended", "attended_norm", "widen", "narrow", "norm")

_AFTER_ATTENTION = ("attention.output.dense", "attention.output.LayerNorm")
_DENSE = ("intermediate.dense", "output.dense", "output.LayerNorm")

_BERT = _Family(
    "encoder.layer",
    ("attention.self.query", "attention.self.key", "attention.self.value", *_AFTER_ATTENTION, *_DENSE),
)

# Positions are counted from after the id of the padding token, which is 1.
_ROBERTA = _Family(_BERT.layers, _BERT.layer, first_position=2)

_DISTILBERT = _Family(
    "transformer.layer",
    (
        *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm"),
        *("ffn.lin1", "ffn.lin2", "output_layer_norm"),
    ),
    words={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    },
    has_types=False,
)

_MPNET = _Family(
    "encoder.layer",
    (
        *("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
        *("attention.LayerNorm", *_DENSE),
    ),
    shared={"encoder.relative_attention_bias": "distances"},
    first_position=2,
    has_types=False,
)

_DEBERTA = _Family(
    "encoder.layer",
    (
        *("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
        *(*_AFTER_ATTENTION, *_DENSE),
    ),
    shared={"encoder.rel_embeddings": "distances", "encoder.LayerNorm": "distances_norm"},
)

_FAMILIES = {
    "bert": _BERT,
    "electra": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
    "deberta-v2": _DEBERTA,
}
