"""Text encoders of the hub: what their config.json says, and what their publishers call the parts."""

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
from transfer_core.backbones.huggingface.huggingface_network import Network, NotKnown


def network(config: Mapping[str, Any]) -> Network:
    """The encoder that a config.json describes, with random weights: `embeddings`, `layer_0`, `layer_1` …

    Raises
    ------
    NotKnown
        If it asks for what none of these encoders has.
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
    """What is particular about one of the relatives.

    Parameters
    ----------
    layers, layer
        What the publisher calls all layers, and the parts of one in the order of `_LAYER`.
    shared
        The publisher's names of what all layers have in common, and ours in each.
    words
        The words of its config.json where they are not BERT's.
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
    said = {word: config.get(family.words.get(word, word), usual) for word, usual in _USUAL.items()}
    if said["hidden_act"] not in ACTIVATIONS:
        raise NotKnown(f"its activation {said['hidden_act']}")
    if said["position_embedding_type"] != "absolute":
        raise NotKnown(f"its positions ({said['position_embedding_type']})")
    if config.get("is_decoder"):
        raise NotKnown("that it is a decoder")
    if family is _DEBERTA:
        _check_deberta(config)
    return Shape(
        width=said["hidden_size"],
        embedding=config.get("embedding_size") or said["hidden_size"],
        layers=said["num_hidden_layers"],
        heads=said["num_attention_heads"],
        inner=said["intermediate_size"],
        vocabulary=said["vocab_size"],
        positions=said["max_position_embeddings"] if config.get("position_biased_input", True) else 0,
        first_position=family.first_position,
        types=said["type_vocab_size"] if family.has_types else 0,
        distances=config.get("relative_attention_num_buckets", 32) if family is _MPNET else 0,
        eps=said["layer_norm_eps"],
        activation=said["hidden_act"],
        dropout=said["hidden_dropout_prob"],
        attention_dropout=said["attention_probs_dropout_prob"],
    )


def _check_deberta(config: Mapping[str, Any]) -> None:
    """Only what versions 2 and 3 have in common."""
    kinds = config.get("pos_att_type") or ()
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    for said, what in (
        (config.get("relative_attention") and config.get("share_att_key"), "its attention"),
        ({kind.strip() for kind in kinds} == {"c2p", "p2c"}, "its pos_att_type"),
        (config.get("position_buckets", -1) > 0, "that it has no position_buckets"),
        ("layer_norm" in config.get("norm_rel_ebd", "none"), "its norm_rel_ebd"),
        (not config.get("conv_kernel_size"), "its convolution"),
        (config.get("embedding_size") in (None, config.get("hidden_size")), "its embedding_size"),
    ):
        if not said:
            raise NotKnown(what)


def _published(family: _Family, layers: int) -> Iterator[tuple[str, str]]:
    """Our name of each part with the publisher's."""
    yield from ((f"embeddings.{ours}", theirs) for ours, theirs in _EMBEDDINGS.items())
    for i in range(layers):
        yield from (
            (f"layer_{i}.{ours}", f"{family.layers}.{i}.{theirs}")
            for ours, theirs in zip(_LAYER, family.layer, strict=True)
        )
        yield from ((f"layer_{i}.{ours}", theirs) for theirs, ours in family.shared.items())


# As BERT's config.json has them, with what its publisher means by leaving one out.
_USUAL: dict[str, Any] = {
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

# Positions are counted from behind the number of the padding token, which is 1.
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
