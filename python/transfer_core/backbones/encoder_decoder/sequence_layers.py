"""Layers of encoder-decoder transformers (Vaswani et al. 2017) and of their variants.

Implemented here because one network covers Marian, BART, mBART, M2M100 and T5, and because a saved model then
generates without transformers. Every decoder layer computes in two ways: all positions at once to train, and
one position at a time, with a state, to generate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
}


class Embeddings(nn.Module):
    """Token embeddings of encoder and decoder, with their positions.

    `source_positions`, `target_positions` are learned tables; `source_distances`, `target_distances` tables
    of relative positions.
    """

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        learned, relative = shape.positions == "learned", shape.positions == "relative"
        rows = shape.longest + shape.first_position
        self.source_positions = nn.Embedding(rows, shape.width) if learned else None
        self.target_positions = nn.Embedding(rows, shape.width) if learned else None
        self.source_distances = nn.Embedding(shape.buckets, shape.heads) if relative else None
        self.target_distances = nn.Embedding(shape.buckets, shape.decoder_heads) if relative else None
        self.source_norm = norm(shape) if shape.embedding_norm else None
        self.target_norm = norm(shape) if shape.embedding_norm else None
        self.dropout = nn.Dropout(shape.dropout)
        self._shape = shape
        self._sinusoids = torch.empty(0)

    def source(self, tokens: Tensor) -> Tensor:
        """(N, S) -> (N, S, D)."""
        x = self.words(tokens) * self._shape.embedding_scale
        positions = torch.arange(x.shape[1], device=x.device)
        return self._placed(x, positions, self.source_positions, self.source_norm)

    def target(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """(N, T) -> (N, T, D); `positions` broadcasts to (N, T), default: 0 to T - 1."""
        x = self.words(tokens) * self._shape.embedding_scale
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)
        if self._shape.zero_start:
            x = x.masked_fill((positions == 0)[..., None], 0.0)
        return self._placed(x, positions, self.target_positions, self.target_norm)

    def _placed(
        self, x: Tensor, positions: Tensor, table: nn.Embedding | None, norm: nn.Module | None
    ) -> Tensor:
        places = positions + self._shape.first_position
        if table is not None:
            x = x + table(places)
        elif self._shape.positions == "sinusoidal":
            x = x + self._waves(places)
        return self.dropout(x if norm is None else norm(x))  # type: ignore[no-any-return]

    def _waves(self, places: Tensor) -> Tensor:
        rows = int(places.max()) + 1
        if len(self._sinusoids) < rows or self._sinusoids.device != places.device:
            width, timescales = self._shape.width, self._shape.timescales
            self._sinusoids = sinusoids(max(256, 2 * rows), width, timescales).to(places.device)
        return self._sinusoids[places]


class Attention(nn.Module):
    """Attention with several heads; keys and values may be computed once and used often."""

    def __init__(self, shape: SequenceShape, heads: int) -> None:
        super().__init__()
        inner = heads * shape.head_width
        self.query, self.key, self.value = (
            nn.Linear(shape.width, inner, bias=shape.biases) for _ in range(3)
        )
        self.output = nn.Linear(inner, shape.width, bias=shape.biases)
        self._heads = heads
        self._scale = shape.attention_scale
        self._dropout = shape.attention_dropout

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, D) -> keys and values (N, H, S, W)."""
        return self._split(self.key(states)), self._split(self.value(states))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        """(N, T, D), and keys and values (N, H, S, W) -> (N, T, D).

        `mask` is bool, True where attention is allowed, or a bias; it broadcasts to (N, H, T, S).
        """
        query = self._split(self.query(x))
        if self.training and self._dropout:
            found = self._with_dropout(query, keys, values, mask, causal)
        else:
            bias = mask if mask is None or mask.dtype == torch.bool else mask.to(query.dtype)
            found = functional.scaled_dot_product_attention(
                query, keys, values, bias, is_causal=causal, scale=self._scale
            )
        return self.output(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _with_dropout(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """Explicitly, because torch's fused attention draws from its global generator."""
        scores = query @ keys.transpose(2, 3) * self._scale
        if causal:
            mask = causal_mask(scores.shape[2], scores.device)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return functional.dropout(scores.softmax(dim=3), self._dropout, True) @ values

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two dense layers with an activation between them, and a gate in some networks."""

    def __init__(self, shape: SequenceShape, inner: int) -> None:
        super().__init__()
        self.widen = nn.Linear(shape.width, inner, bias=shape.biases)
        self.gate = nn.Linear(shape.width, inner, bias=shape.biases) if shape.gated else None
        self.narrow = nn.Linear(inner, shape.width, bias=shape.biases)
        # T5 has dropout here, too, at the usual rate.
        inside = shape.dropout if shape.positions == "relative" else shape.activation_dropout
        self.dropout = nn.Dropout(inside)
        self._activation = _ACTIVATIONS[shape.activation]

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        wide = self._activation(self.widen(x))
        if self.gate is not None:
            wide = wide * self.gate(x)
        return self.narrow(self.dropout(wide))  # type: ignore[no-any-return]


class Recurrence(nn.Module):
    """Simplified simple recurrent unit (Kim et al. 2019): c = f c' + (1 - f) W x, and relu(c)."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.candidate = nn.Linear(shape.width, shape.width, bias=False)
        self.forget = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """All positions (N, T, D) in log2(T) steps (Hillis and Steele 1986)."""
        kept, cell = self._gates(x)
        distance = 1
        while distance < x.shape[1]:
            reached = cell[:, distance:] + kept[:, distance:] * cell[:, :-distance]
            cell = torch.cat([cell[:, :distance], reached], dim=1)
            kept = torch.cat([kept[:, :distance], kept[:, distance:] * kept[:, :-distance]], dim=1)
            distance *= 2
        return functional.relu(cell).to(x.dtype)

    def step(self, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """One position (R, 1, D) and the former cell; returns the output and the new cell."""
        kept, new = self._gates(x)
        cell = torch.addcmul(new, kept, cell)
        return functional.relu(cell), cell

    def _gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = torch.sigmoid(self.forget(x).float())
        return kept, (1 - kept) * self.candidate(x)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.attention = Attention(shape, shape.heads)
        self.attention_norm = norm(shape)
        self.feed_forward = FeedForward(shape, shape.inner)
        self.norm = norm(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self._pre_norm = shape.pre_norm

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, S, D) -> (N, S, D)."""
        inner = self.attention_norm(x) if self._pre_norm else x
        x = x + self.dropout(self.attention(inner, *self.attention.keys_values(inner), mask))
        x = x if self._pre_norm else self.attention_norm(x)
        x = x + self.dropout(self.feed_forward(self.norm(x) if self._pre_norm else x))
        return x if self._pre_norm else self.norm(x)


class DecoderLayer(nn.Module):
    """Self-attention or a recurrence, attention to the source, and a feed-forward network."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.past: Recurrence | Attention = (
            Recurrence(shape) if shape.recurrent else Attention(shape, shape.decoder_heads)
        )
        self.past_norm = norm(shape)
        self.source = Attention(shape, shape.decoder_heads)
        self.source_norm = norm(shape)
        self.feed_forward = FeedForward(shape, shape.decoder_inner)
        self.norm = norm(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self._pre_norm = shape.pre_norm

    def forward(self, x: Tensor, states: Tensor, source_mask: Tensor, bias: Tensor | None) -> Tensor:
        """(N, T, D), and source states (N, S, D) -> (N, T, D); `bias` is that of relative positions."""
        inner = self.before_past(x)
        if isinstance(self.past, Recurrence):
            found = self.past(inner)
        else:
            found = self.past(inner, *self.past.keys_values(inner), bias, causal=bias is None)
        x = self.after_past(x, found)
        return self.after_source(x, *self.source.keys_values(states), source_mask)

    def before_past(self, x: Tensor) -> Tensor:
        """The input of the self-attention or recurrence."""
        return self.past_norm(x) if self._pre_norm else x

    def after_past(self, x: Tensor, found: Tensor) -> Tensor:
        """The residual sum after the self-attention or recurrence."""
        x = x + self.dropout(found)
        return x if self._pre_norm else self.past_norm(x)

    def after_source(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """The attention to the source and the feed-forward network."""
        inner = self.source_norm(x) if self._pre_norm else x
        x = x + self.dropout(self.source(inner, keys, values, mask))
        x = x if self._pre_norm else self.source_norm(x)
        x = x + self.dropout(self.feed_forward(self.norm(x) if self._pre_norm else x))
        return x if self._pre_norm else self.norm(x)


class Output(nn.Module):
    """From decoder states to one number per token."""

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.norm = norm(shape) if shape.pre_norm else None
        self.weight = None if shape.tied_output else nn.Parameter(torch.zeros(shape.vocabulary, shape.width))
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary)) if shape.output_bias else None
        self.dropout = nn.Dropout(shape.dropout if shape.positions == "relative" else 0.0)
        self._scale = shape.output_scale

    def states(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D): normalized and scaled."""
        x = x if self.norm is None else self.dropout(self.norm(x))
        return x if self._scale == 1.0 else x * self._scale

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """(…, D) -> (…, V) from the result of `states`; `embeddings` (V, D) are the weights if tied."""
        return functional.linear(states, embeddings if self.weight is None else self.weight, self.bias)


class RmsNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        wide = x.float()
        return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._eps) * self.weight


def norm(shape: SequenceShape) -> nn.Module:
    """The norm of a network."""
    return RmsNorm(shape.width, shape.eps) if shape.norm == "rms" else nn.LayerNorm(shape.width, shape.eps)


def causal_mask(length: int, device: torch.device) -> Tensor:
    """(T, T) bool: True where a position may attend to another."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def sinusoids(rows: int, width: int, timescales: str) -> Tensor:
    """(rows, width): sines in the first half, cosines in the second."""
    half = width // 2
    steps = half - 1 if timescales == "inclusive" else half
    rates = torch.exp(torch.arange(half) * (-math.log(10_000) / max(1, steps)))
    angles = torch.arange(rows)[:, None] * rates[None]
    found = torch.cat([angles.sin(), angles.cos()], dim=1)
    return functional.pad(found, (0, width - 2 * half))


def distance_bias(table: nn.Embedding, queries: Tensor, keys: int, both_ways: bool, furthest: int) -> Tensor:
    """Bias of the attention by relative position (Raffel et al. 2020, section 2.1).

    Parameters
    ----------
    table
        (buckets, H).
    queries
        (T,) positions of the queries.
    keys
        S, the number of keys.
    both_ways
        Whether keys after the query have buckets of their own.
    furthest
        Distance from which on all share the last bucket.

    Returns
    -------
    Tensor
        (1, H, T, S).
    """
    distance = torch.arange(keys, device=queries.device)[None] - queries[:, None]
    buckets = table.num_embeddings
    offset = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        offset = (distance > 0) * buckets
        distance = distance.abs()
    else:
        distance = -distance.clamp(max=0)
    exact = buckets // 2
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(furthest / exact)
    far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    found: Tensor = table(offset + torch.where(distance < exact, distance, far))
    return found.permute(2, 0, 1)[None]
