"""Hyperparameters of an encoder-decoder, also read from untrusted saved models; no torch here."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Width: TypeAlias = Annotated[int, Meta(ge=1, le=65_536)]
Layers: TypeAlias = Annotated[int, Meta(ge=1, le=200)]
Token: TypeAlias = Annotated[int, Meta(ge=0, le=10_000_000)]
Tokens: TypeAlias = Annotated[tuple[Token, ...], Meta(max_length=1000)]
Share: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Scale: TypeAlias = Annotated[float, Meta(gt=0, le=1e4)]


class SequenceShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of an encoder-decoder.

    Parameters
    ----------
    width, inner, decoder_inner
        Width of the hidden states, and of the feed-forward layers of encoder and decoder.
    head_width
        Width of the queries and keys of one head.
    vocabulary
        Number of tokens.
    positions
        `learned` (a table), `sinusoidal`, or `relative` (a bias of the self-attention, Raffel et al. 2020).
    longest
        Rows of the learned table; for the other kinds the publisher's limit.
    first_position
        Row of the first token in the table of positions.
    timescales
        Frequencies of the sinusoids: `inclusive` ends at exactly 1/10000 (tensor2tensor, Marian),
        `exclusive` at the step before it (Vaswani et al. 2017; transformers' Marian).
    buckets, furthest
        Of relative positions.
    pre_norm
        Whether a norm is in front of each sublayer, and a last one behind all layers; else behind each one.
    norm
        `layer`, or `rms` without bias and mean.
    embedding_norm
        Whether the embeddings are normalized.
    gated
        Whether the feed-forward layer has a gate (T5 1.1).
    biases
        Whether dense layers have biases.
    attention_scale, embedding_scale, output_scale
        Factors of the products of queries and keys, of the embeddings, and of the states before the output.
    recurrent
        Whether the decoder has a simple recurrent unit instead of self-attention (SSRU, Kim et al. 2019).
    zero_start
        Whether the first input of the decoder is zeros instead of the embedding of its start token.
    tied_output
        Whether the output layer has the weights of the embeddings.
    pad, end
        Tokens.
    banned
        Tokens that are never generated.
    forced_end
        Whether the last token of an output that reaches the maximum length is `end`.
    """

    family: Annotated[str, Meta(max_length=100)]
    width: Width
    inner: Width
    decoder_inner: Width
    head_width: Width
    heads: Width
    decoder_heads: Width
    layers: Layers
    decoder_layers: Layers
    vocabulary: Annotated[int, Meta(ge=2, le=10_000_000)]
    positions: Literal["learned", "sinusoidal", "relative"]
    longest: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    first_position: Annotated[int, Meta(ge=0, le=100)] = 0
    timescales: Literal["inclusive", "exclusive"] = "inclusive"
    buckets: Annotated[int, Meta(ge=2, le=10_000)] = 32
    furthest: Annotated[int, Meta(ge=2, le=100_000)] = 128
    pre_norm: bool
    norm: Literal["layer", "rms"] = "layer"
    eps: Annotated[float, Meta(ge=0, le=1)] = 1e-5
    embedding_norm: bool = False
    activation: Literal["relu", "gelu", "gelu_new", "silu"] = "relu"
    gated: bool = False
    biases: bool = True
    attention_scale: Scale
    embedding_scale: Scale = 1.0
    output_scale: Scale = 1.0
    output_bias: bool = True
    recurrent: bool = False
    zero_start: bool = False
    tied_output: bool = True
    dropout: Share = 0.1
    attention_dropout: Share = 0.0
    activation_dropout: Share = 0.0
    pad: Token
    end: Token
    banned: Tokens = ()
    forced_end: bool = False

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks in order."""
        encoder = [f"encoder_{i}" for i in range(self.layers)]
        decoder = [f"decoder_{i}" for i in range(self.decoder_layers)]
        norm = ["encoder_norm"] if self.pre_norm else []
        return ("embeddings", *encoder, *norm, *decoder, "output")

    @property
    def encoder_blocks(self) -> int:
        """The number of blocks before the decoder."""
        return 1 + self.layers + self.pre_norm
