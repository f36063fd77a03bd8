"""Layers of BERT and related encoders, each with one input and one output tensor.

Implemented here because one network covers them all (Devlin et al. 2019), and because a saved model then
predicts without transformers, whose import takes longer than everything else.

Between blocks a text is (L, D), padded with rows of zeros, which no token has after a LayerNorm. So each
block finds the padding in its input alone, and the network can be cut anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

# The id of a padding position. Not the tokenizer's own: a text may contain "[PAD]".
PADDING = -1

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
}


@dataclass(frozen=True)
class Shape:
    """Hyperparameters of an encoder.

    Parameters
    ----------
    width, inner
        Width of the hidden states, and of the dense layers between them.
    embedding
        Width of the token embeddings; projected to `width` if it is another.
    positions
        Rows of the table of positions, starting at row `first_position`; 0: no table.
    types
        Number of token types, for pairs of texts; 0: none.
    distances
        Buckets of relative positions that the attention depends on; 0: none.
    """

    width: int
    embedding: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    first_position: int
    types: int
    distances: int
    eps: float
    activation: str
    dropout: float
    attention_dropout: float


class Embeddings(nn.Module):
    """Embedding layer: token ids and types to hidden states."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocabulary, shape.embedding)
        self.positions = nn.Embedding(shape.positions, shape.embedding) if shape.positions else None
        self.types = nn.Embedding(shape.types, shape.embedding) if shape.types else None
        self.norm = nn.LayerNorm(shape.embedding, shape.eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.project = nn.Linear(shape.embedding, shape.width) if shape.embedding != shape.width else None
        self._first_position = shape.first_position

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, 2) int32 -> (N, L, D)."""
        ids, types = tokens.unbind(dim=2)
        x = self.words(ids.clamp(min=0))
        if self.positions is not None:
            x = x + self.positions(torch.arange(ids.shape[1], device=ids.device) + self._first_position)
        if self.types is not None:
            # With one type only, a second text has that type, too.
            x = x + self.types(types.clamp(0, self.types.num_embeddings - 1))
        x = self.dropout(self.norm(x))
        if self.project is not None:
            x = self.project(x)
        return x.masked_fill((ids == PADDING).unsqueeze(2), 0.0)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Transformer layer: attention and a feed-forward network, each with a residual before a LayerNorm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(shape.width, shape.width) for _ in range(3))
        self.attended = nn.Linear(shape.width, shape.width)
        self.attended_norm = nn.LayerNorm(shape.width, shape.eps)
        self.widen = nn.Linear(shape.width, shape.inner)
        self.narrow = nn.Linear(shape.inner, shape.width)
        self.norm = nn.LayerNorm(shape.width, shape.eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.heads = shape.heads
        self._activation = ACTIVATIONS[shape.activation]
        self._attention_dropout = shape.attention_dropout

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        padding = is_padding(x)
        x = self.attended_norm(x + self.dropout(self.attended(self._attend(x, padding))))
        x = self.norm(x + self.dropout(self.narrow(self._activation(self.widen(x)))))
        return x.masked_fill(padding.unsqueeze(2), 0.0)

    def _attend(self, x: Tensor, padding: Tensor) -> Tensor:
        query, key, value = (
            split_heads(dense(x), self.heads) for dense in (self.query, self.key, self.value)
        )
        bias = torch.where(padding, -math.inf, 0.0)[:, None, None, :].to(x.dtype)
        scale = self._scale(query.shape[3])
        return attention(query, key, value, bias + self._bias(query, key, scale), scale, self._dropout)

    def _scale(self, width: int) -> float:
        """Scale of the dot products of vectors of this width."""
        return 1 / math.sqrt(width)

    def _bias(self, query: Tensor, key: Tensor, scale: float) -> Tensor | float:
        """Bias of the attention scores, broadcastable to (N, heads, L, L)."""
        return 0.0

    @property
    def _dropout(self) -> float:
        return self._attention_dropout if self.training else 0.0


class BiasedLayer(Layer):
    """Layer with relative position bias per head (MPNet).

    The publisher's layers share one table; here each has its own, so that layers can be trained one by one.
    """

    FURTHEST = 128

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.distances = nn.Embedding(shape.distances, shape.heads)

    def _bias(self, query: Tensor, key: Tensor, scale: float) -> Tensor:
        buckets = distance_buckets(query.shape[2], self.distances.num_embeddings, self.FURTHEST)
        return self.distances(buckets.to(query.device)).permute(2, 0, 1)  # type: ignore[no-any-return]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, D) -> (N, heads, L, D / heads)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    """Scaled dot-product attention: softmax(query keyᵀ scale + bias) value (Vaswani et al. 2017, 3.2).

    Parameters
    ----------
    query, key, value
        (N, heads, L, d).
    bias
        Broadcastable to (N, heads, L, L); None: no bias.
    scale
        Factor of the products.
    dropout
        Probability of dropping an attention weight.

    Returns
    -------
    Tensor
        (N, L, heads d).
    """
    if dropout:
        # Not torch's fused attention, whose dropout uses the RNG that all threads share.
        scores = query @ key.transpose(2, 3) * scale
        shares = (scores if bias is None else scores + bias).softmax(dim=3)
        mixed = functional.dropout(shares, dropout) @ value
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, bias, scale=scale)
    return mixed.transpose(1, 2).flatten(2)


def is_padding(x: Tensor) -> Tensor:
    """Mask (N, L) of the padding in hidden states (N, L, D)."""
    return (x == 0).all(dim=2)


def distance_buckets(length: int, buckets: int, furthest: int) -> Tensor:
    """Bucket of the distance from each token (row) to each (column), (L, L).

    Half of the buckets are for tokens before, half for tokens after; of each half, one half has a bucket per
    distance, the other logarithmic buckets up to `furthest` (Raffel et al. 2020, T5, section 2.1).

    Parameters
    ----------
    length
        Number of tokens, L.
    buckets
        Number of buckets.
    furthest
        The distance at which the last bucket begins.
    """
    places = torch.arange(length)
    distance = places[None, :] - places[:, None]
    half, exact = buckets // 2, buckets // 4
    near = distance.abs()
    far = (near.clamp(min=1).float() / exact).log() / math.log(furthest / exact) * (half - exact)
    bucket = torch.where(near < exact, near, (exact + far.long()).clamp(max=half - 1))
    return bucket + (distance > 0) * half


def draw(module: nn.Module, deviation: float) -> None:
    """Initialize a layer as BERT does: normally distributed weights, no bias."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=deviation)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
