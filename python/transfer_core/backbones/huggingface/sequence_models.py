"""Encoder-decoders of the hub: hyperparameters from config.json, and their publishers' names of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape
from transfer_core.backbones.huggingface.huggingface_network import MOST_LAYERS, Unsupported
from transfer_core.runtime.errors import ModelFileError

BART_LIKE = ("marian", "bart", "mbart", "m2m_100")
T5_LIKE = ("t5", "mt5")
FAMILIES = (*BART_LIKE, *T5_LIKE)

_ACTIVATIONS = {"swish": "silu", "gelu_pytorch_tanh": "gelu_new"}
_NO_LIMIT = 1024


def is_sequence_model(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes an encoder-decoder."""
    return config.get("model_type") in FAMILIES


def sequence_shape(config: Mapping[str, Any], generation: Mapping[str, Any]) -> SequenceShape:
    """The hyperparameters of a config.json and a generation_config.json.

    Raises
    ------
    Unsupported
        For a feature that is not implemented.
    """
    words = {**generation, **{word: value for word, value in config.items() if value is not None}}
    try:
        return _t5_shape(words) if config["model_type"] in T5_LIKE else _bart_shape(words)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise Unsupported(f"its config.json ({error!r})") from None


def start_token(config: Mapping[str, Any], generation: Mapping[str, Any]) -> int:
    """The first input of the decoder."""
    default = 0 if config["model_type"] in T5_LIKE else config.get("eos_token_id", 2)
    for words in (config, generation):
        if words.get("decoder_start_token_id") is not None:
            return int(words["decoder_start_token_id"])
    return int(default)


def _bart_shape(words: Mapping[str, Any]) -> SequenceShape:
    kind, width, heads = words["model_type"], words["d_model"], words["encoder_attention_heads"]
    if kind == "marian" and not words.get("share_encoder_decoder_embeddings", True):
        raise Unsupported("a Marian model with separate vocabularies")
    if words["decoder_attention_heads"] != heads and width % words["decoder_attention_heads"]:
        raise Unsupported("its number of heads")
    if words["decoder_attention_heads"] != heads:
        raise Unsupported("different numbers of heads in encoder and decoder")
    pad, end = int(words.get("pad_token_id", 1)), int(words.get("eos_token_id", 2))
    learned = kind in ("bart", "mbart")
    return SequenceShape(
        family=kind,
        width=width,
        inner=words["encoder_ffn_dim"],
        decoder_inner=words["decoder_ffn_dim"],
        head_width=width // heads,
        heads=heads,
        decoder_heads=heads,
        layers=_layers(words["encoder_layers"]),
        decoder_layers=_layers(words["decoder_layers"]),
        vocabulary=words["vocab_size"],
        positions="learned" if learned else "sinusoidal",
        longest=words["max_position_embeddings"],
        first_position=0 if kind == "marian" else 2,
        timescales="exclusive" if kind == "marian" else "inclusive",
        pre_norm=kind in ("mbart", "m2m_100"),
        embedding_norm=learned,
        activation=_activation(words.get("activation_function", "gelu")),
        attention_scale=(width // heads) ** -0.5,
        embedding_scale=width**0.5 if words.get("scale_embedding") else 1.0,
        output_bias=kind != "m2m_100",
        tied_output=bool(words.get("tie_word_embeddings", True)),
        dropout=words.get("dropout", 0.1),
        attention_dropout=words.get("attention_dropout", 0.0),
        activation_dropout=words.get("activation_dropout", 0.0),
        pad=pad,
        end=end,
        banned=tuple(sorted({pad, *_banned(words)} - {end})),
        forced_end=words.get("forced_eos_token_id") is not None,
    )


def _t5_shape(words: Mapping[str, Any]) -> SequenceShape:
    kind, width = words["model_type"], words["d_model"]
    projection = words.get("feed_forward_proj", "relu")
    tied = bool(words.get("tie_word_embeddings", kind == "t5"))
    activation = {"gated-gelu": "gelu_new"}.get(projection, projection.removeprefix("gated-"))
    pad, end = int(words.get("pad_token_id", 0)), int(words.get("eos_token_id", 1))
    return SequenceShape(
        family=kind,
        width=width,
        inner=words["d_ff"],
        decoder_inner=words["d_ff"],
        head_width=words["d_kv"],
        heads=words["num_heads"],
        decoder_heads=words["num_heads"],
        layers=_layers(words["num_layers"]),
        decoder_layers=_layers(words.get("num_decoder_layers", words["num_layers"])),
        vocabulary=words["vocab_size"],
        positions="relative",
        longest=words.get("n_positions", _NO_LIMIT),
        buckets=words.get("relative_attention_num_buckets", 32),
        furthest=words.get("relative_attention_max_distance", 128),
        pre_norm=True,
        norm="rms",
        eps=words.get("layer_norm_epsilon", 1e-6),
        activation=_activation(activation),
        gated=projection.startswith("gated-"),
        biases=False,
        attention_scale=1.0,
        output_scale=width**-0.5 if kind == "t5" and words.get("scale_decoder_outputs", tied) else 1.0,
        output_bias=False,
        tied_output=tied,
        dropout=words.get("dropout_rate", 0.1),
        attention_dropout=words.get("dropout_rate", 0.1),
        pad=pad,
        end=end,
        banned=(pad,),
    )


def _layers(count: Any) -> int:
    if type(count) is not int or not 0 < count <= MOST_LAYERS:
        raise Unsupported(f"{count} layers")
    return count


def _activation(name: str) -> Any:
    found = _ACTIVATIONS.get(name, name)
    if found not in ("relu", "gelu", "gelu_new", "silu"):
        raise Unsupported(f"the activation {name}")
    return found


def _banned(words: Mapping[str, Any]) -> Iterator[int]:
    """Tokens that the publisher never generates; sequences of several tokens are ignored."""
    for sequence in words.get("bad_words_ids") or ():
        if len(sequence) == 1:
            yield int(sequence[0])


def own_sequence_tensors(shape: SequenceShape, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a publisher's tensors to their names in a `Backbone`; missing ones are left out."""
    named = dict(_t5_names(shape) if shape.family in T5_LIKE else _bart_names(shape))
    found = {}
    for ours, alternatives in named.items():
        theirs = next((name for name in alternatives if name in tensors), None)
        if theirs is not None:
            found[f"blocks.{ours}"] = tensors[theirs]
    bias = "blocks.output.bias"
    if shape.output_bias:
        found[bias] = found.get(bias, torch.zeros(shape.vocabulary)).reshape(-1)
    words = found.get("blocks.embeddings.words.weight")
    if words is not None and len(words) != shape.vocabulary:
        raise ModelFileError(f"its embeddings have {len(words)} tokens, expected {shape.vocabulary}")
    return found


_WORDS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def _bart_names(shape: SequenceShape) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our name of a tensor, and the publisher's names of it."""

    def both(ours: str, theirs: str, bias: bool = True) -> Iterator[tuple[str, tuple[str, ...]]]:
        for kind in ("weight", "bias") if bias else ("weight",):
            yield f"{ours}.{kind}", (f"model.{theirs}.{kind}", f"{theirs}.{kind}")

    words = (*(f"model.{name}" for name in _WORDS), *_WORDS)
    yield "embeddings.words.weight", (*words, "lm_head.weight")
    yield "output.weight", ("lm_head.weight",)
    yield "output.bias", ("final_logits_bias",)
    for ours, side in (("source", "encoder"), ("target", "decoder")):
        yield from both(f"embeddings.{ours}_positions", f"{side}.embed_positions", bias=False)
        yield from both(f"embeddings.{ours}_norm", f"{side}.layernorm_embedding")
    yield from both("encoder_norm.0", "encoder.layer_norm")
    yield from both("output.norm", "decoder.layer_norm")
    projections = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "out_proj"))
    for side, layers in (("encoder", shape.layers), ("decoder", shape.decoder_layers)):
        past = "attention" if side == "encoder" else "past"
        parts = [(past, "self_attn"), *([("source", "encoder_attn")] if side == "decoder" else [])]
        for number in range(layers):
            ours, theirs = f"{side}_{number}", f"{side}.layers.{number}"
            for part, their_part in parts:
                yield from both(f"{ours}.{part}_norm", f"{theirs}.{their_part}_layer_norm")
                for name, their_name in projections:
                    yield from both(f"{ours}.{part}.{name}", f"{theirs}.{their_part}.{their_name}")
            yield from both(f"{ours}.feed_forward.widen", f"{theirs}.fc1")
            yield from both(f"{ours}.feed_forward.narrow", f"{theirs}.fc2")
            yield from both(f"{ours}.norm", f"{theirs}.final_layer_norm")


def _t5_names(shape: SequenceShape) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our name of a tensor, and the publisher's names of it."""

    def one(ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
        return f"{ours}.weight", (f"{theirs}.weight",)

    yield "embeddings.words.weight", (*_WORDS, *([] if shape.tied_output is False else ["lm_head.weight"]))
    yield "output.weight", ("lm_head.weight",)
    yield one("encoder_norm.0", "encoder.final_layer_norm")
    yield one("output.norm", "decoder.final_layer_norm")
    for side, layers in (("encoder", shape.layers), ("decoder", shape.decoder_layers)):
        table = "source" if side == "encoder" else "target"
        first = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
        yield one(f"embeddings.{table}_distances", first)
        past = "attention" if side == "encoder" else "past"
        parts = [(past, "SelfAttention"), *([("source", "EncDecAttention")] if side == "decoder" else [])]
        for number in range(layers):
            ours, theirs = f"{side}_{number}", f"{side}.block.{number}.layer"
            for place, (part, their_part) in enumerate(parts):
                yield one(f"{ours}.{part}_norm", f"{theirs}.{place}.layer_norm")
                for name in ("query", "key", "value", "output"):
                    yield one(f"{ours}.{part}.{name}", f"{theirs}.{place}.{their_part}.{name[0]}")
            dense = f"{theirs}.{len(parts)}.DenseReluDense"
            yield one(f"{ours}.feed_forward.widen", f"{dense}.wi_0" if shape.gated else f"{dense}.wi")
            yield one(f"{ours}.feed_forward.gate", f"{dense}.wi_1")
            yield one(f"{ours}.feed_forward.narrow", f"{dense}.wo")
            yield one(f"{ours}.norm", f"{theirs}.{len(parts)}.layer_norm")
