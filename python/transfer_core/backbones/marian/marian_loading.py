"""Describe, load and restore translators in Marian's own format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.sentencepiece_model import tokenizer_of
from transfer_core.backbones.encoder_decoder.sequence_assets import (
    DESCRIPTION,
    description_file,
    random_backbone,
    restored_backbone,
    sequence_backbone,
)
from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape
from transfer_core.backbones.encoder_decoder.text_codec import SOURCE, TARGET
from transfer_core.backbones.encoder_decoder.token_layout import TokenLayout
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.marian.marian_file import Array, read_marian
from transfer_core.backbones.marian.marian_folder import MarianFiles, find_marian
from transfer_core.backbones.weights import sha256
from transfer_core.runtime.errors import ModelFileError, Problem, RecipeError
from transfer_core.runtime.progress import Progress

_END, _UNKNOWN = 0, 1
_LONGEST = 512
_ACTIVATIONS: dict[str, Any] = {"relu": "relu", "swish": "silu", "gelu": "gelu"}
# Options and the values that are implemented.
_SUPPORTED = {
    "type": ("transformer",),
    "tied-embeddings-all": ("true",),
    "transformer-postprocess": ("dan",),
    "transformer-preprocess": ("",),
    "transformer-postprocess-top": ("",),
    "transformer-train-position-embeddings": ("false",),
    "transformer-ffn-activation": tuple(_ACTIVATIONS),
    "transformer-ffn-depth": ("2",),
    "transformer-decoder-autoreg": ("rnn", "self-attention"),
    "dec-cell": ("ssru", "gru"),
}


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`."""
    found, files = find_marian(name)
    tensors, options = read_marian(files.weights)
    shape = _shape(tensors, options, files)
    count = sum(tensor.size for tensor in tensors.values())
    return BackboneFacts(
        name=found,
        source="marian",
        family="marian",
        paper="Marian: Fast Neural Machine Translation in C++",
        arxiv="1804.00344",
        code_license="MIT",
        code_url="https://github.com/marian-nmt/marian",
        embedding_width=shape.width,
        parameters=count,
        backbone_parameters=count,
        default=files.weights.name,
        blocks=shape.blocks,
        weights=(WeightsFacts(name=files.weights.name, file=files.weights.name, terms="see its publisher"),),
        modality="text",
        max_length=_LONGEST,
        positions=_LONGEST,
        encoder_decoder=True,
    )


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> EncoderDecoder:
    """See `Loading`."""
    _, files = find_marian(facts.name)
    tensors, options = read_marian(files.weights)
    shape = _shape(tensors, options, files)
    layout = TokenLayout(source_after=(_END,), target_after=(_END,), start=_END, unknown=_UNKNOWN)
    assets = {DESCRIPTION: description_file(shape, layout), SOURCE: _tokenizer(files.source)}
    if files.target != files.source:
        assets[TARGET] = _tokenizer(files.target)
    if weights == "random":
        return random_backbone(facts, assets)
    known = facts.default_weights if weights == "pretrained" else facts.published(weights)
    named = dict(_named(shape, tensors, files))
    return sequence_backbone(facts, assets, named, known, sha256(files.weights), str(files.weights))


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> EncoderDecoder:
    """See `Loading`."""
    return restored_backbone(facts, tensors, weights, digest)


def _tokenizer(path: Path) -> bytes:
    return tokenizer_of(path.read_bytes(), str(path)).encode()


def _shape(tensors: Mapping[str, Array], options: Mapping[str, str], files: MarianFiles) -> SequenceShape:
    for option, values in _SUPPORTED.items():
        if options.get(option, values[0]) not in values:
            message = f"{files.weights} can't be used: {option} {options[option]} is not supported"
            raise RecipeError([Problem("backbone", f"{message} (one of: {', '.join(values)})")])
    try:
        vocabulary, width = tensors["Wemb"].shape
        heads = int(options["transformer-heads"])
        recurrent = options.get("transformer-decoder-autoreg") == "rnn"
        return SequenceShape(
            family="marian",
            width=width,
            inner=tensors["encoder_l1_ffn_W1"].shape[1],
            decoder_inner=tensors["decoder_l1_ffn_W1"].shape[1],
            head_width=width // heads,
            heads=heads,
            decoder_heads=heads,
            layers=int(options["enc-depth"]),
            decoder_layers=int(options["dec-depth"]),
            vocabulary=vocabulary,
            positions="sinusoidal",
            longest=_LONGEST,
            pre_norm=False,
            eps=1e-9,
            activation=_ACTIVATIONS[options.get("transformer-ffn-activation", "relu")],
            attention_scale=(width // heads) ** -0.5,
            embedding_scale=width**0.5,
            recurrent=recurrent,
            zero_start=True,
            dropout=0.0,  # small students are distilled without it
            pad=_END,
            end=_END,
            banned=(_UNKNOWN,),
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(f"{files.weights} can't be used: it lacks {error}") from None


def _named(
    shape: SequenceShape, tensors: Mapping[str, Array], files: MarianFiles
) -> Iterator[tuple[str, Tensor]]:
    """The tensors by their names in a `Backbone`; matrices are transposed as torch has them."""

    def own(name: str, theirs: str) -> Iterator[tuple[str, Tensor]]:
        if theirs not in tensors:
            raise ModelFileError(f"{files.weights} can't be used: {theirs} is missing")
        tensor = torch.from_numpy(tensors[theirs])
        is_vector = name.endswith(("bias", "norm.weight"))
        turned = tensor.reshape(-1) if is_vector else tensor.T
        yield f"blocks.{name}", turned.contiguous()

    yield "blocks.embeddings.words.weight", torch.from_numpy(tensors["Wemb"]).contiguous()
    yield from own("output.bias", "decoder_ff_logit_out_b")
    for side, layers in (("encoder", shape.layers), ("decoder", shape.decoder_layers)):
        for number in range(layers):
            ours, theirs = f"{side}_{number}", f"{side}_l{number + 1}"
            for part, their_part, their_norm, names in _parts(side, shape.recurrent):
                for name, their_name in names.items():
                    yield from own(f"{ours}.{part}.{name}", f"{theirs}_{their_part}_{their_name}")
                norm = partial(own, theirs=f"{theirs}_{their_part}_{their_norm}_ln_scale")
                label = {"attention": "attention_norm", "past": "past_norm", "source": "source_norm"}
                yield from norm(f"{ours}.{label.get(part, 'norm')}.weight")
                bias = f"{theirs}_{their_part}_{their_norm}_ln_bias"
                yield from own(f"{ours}.{label.get(part, 'norm')}.bias", bias)


_ATTENTION = {
    f"{ours}.{kind}": f"{letter}{theirs}"
    for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o"))
    for kind, letter in (("weight", "W"), ("bias", "b"))
}
_FEED_FORWARD = {"widen.weight": "W1", "widen.bias": "b1", "narrow.weight": "W2", "narrow.bias": "b2"}
_RECURRENCE = {"candidate.weight": "W", "forget.weight": "Wf", "forget.bias": "bf"}


def _parts(side: str, recurrent: bool) -> list[tuple[str, str, str, dict[str, str]]]:
    """Parts of a layer: our name, Marian's, that of its norm, and the names of its tensors."""
    feed_forward = ("feed_forward", "ffn", "ffn", _FEED_FORWARD)
    if side == "encoder":
        return [("attention", "self", "Wo", _ATTENTION), feed_forward]
    past = ("past", "rnn", "ffn", _RECURRENCE) if recurrent else ("past", "self", "Wo", _ATTENTION)
    return [past, ("source", "context", "Wo", _ATTENTION), feed_forward]
