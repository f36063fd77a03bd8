"""Vision transformers of the hub, ViT and DINOv2, as blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.huggingface.encoder_layers import ACTIVATIONS, attention, draw, split_heads
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported


def network(config: Mapping[str, Any]) -> Network:
    """Build the network of a config.json with random weights: `embeddings`, `layer_0` …, `norm`.

    The embedding is the class token after the last norm: the input of a ViT's classifier, and DINOv2's pooled
    output.
    """
    if config.get("hidden_act", "gelu") not in ACTIVATIONS:
        raise Unsupported(f"the activation {config['hidden_act']}")
    is_dino, width = _is_dino(config), config.get("hidden_size", 768)
    layers = config.get("num_hidden_layers", 12)
    norm = partial(nn.LayerNorm, width, config.get("layer_norm_eps", 1e-6 if is_dino else 1e-12))
    blocks = {
        "embeddings": Tokens(config, width),
        **{f"layer_{i}": Layer(config, width, norm(), norm()) for i in range(layers)},
        "norm": norm(),
    }
    for block in blocks.values():
        block.apply(partial(draw, deviation=config.get("initializer_range", 0.02)))
    names = _GATED if config.get("use_swiglu_ffn") else _DINO if is_dino else VIT_NAMES
    return Network(blocks, dict(_published(names, layers)), width, pool=ClassToken())


class Tokens(nn.Module):
    """Patch embedding: projected patches after a class token, plus positions."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        side, patch = config.get("image_size", 224), config.get("patch_size", 16)
        self.patches = nn.Conv2d(config.get("num_channels", 3), width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + (side // patch) ** 2, width))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.0))
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1 + patches, D)."""
        patches = self.patches(images)
        tokens = torch.cat(
            (self.class_token.expand(images.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)), 1
        )
        return self.dropout(tokens + self._positions(*patches.shape[2:]))  # type: ignore[no-any-return]

    def _positions(self, height: int, width: int) -> Tensor:
        """The trained positions, interpolated for images of another size."""
        side = math.isqrt(self.positions.shape[1] - 1)
        if (height, width) == (side, side):
            return self.positions
        trained = self.positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        between = functional.interpolate(trained.float(), (height, width), mode="bicubic")
        return torch.cat(
            (self.positions[:, :1], between.flatten(2).transpose(1, 2).to(self.positions.dtype)), 1
        )


class Layer(nn.Module):
    """Transformer layer: attention and a feed-forward network, each after a LayerNorm and with a residual."""

    def __init__(self, config: Mapping[str, Any], width: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        bias = config.get("qkv_bias", True)
        scale, drop = config.get("layerscale_value"), config.get("drop_path_rate", 0.0)
        self.norm = first
        self.query, self.key, self.value = (nn.Linear(width, width, bias=bias) for _ in range(3))
        self.attended = nn.Linear(width, width)
        self.attended_norm = second
        self.dense = Gated(config, width) if config.get("use_swiglu_ffn") else Dense(config, width)
        self.scale = nn.Parameter(torch.full((width,), scale)) if scale else None
        self.dense_scale = nn.Parameter(torch.full((width,), scale)) if scale else None
        self.dropout: nn.Module = (
            nn.Dropout(config.get("hidden_dropout_prob", 0.0)) if not drop else DropPath(drop)
        )
        self._heads = config.get("num_attention_heads", 12)
        self._attention_dropout = config.get("attention_probs_dropout_prob", 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        x = x + self.dropout(_scaled(self._attend(self.norm(x)), self.scale))
        return x + self.dropout(_scaled(self.dense(self.attended_norm(x)), self.dense_scale))  # type: ignore[no-any-return]

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            split_heads(dense(x), self._heads) for dense in (self.query, self.key, self.value)
        )
        dropout = self._attention_dropout if self.training else 0.0
        mixed = attention(query, key, value, None, 1 / math.sqrt(query.shape[3]), dropout)
        return self.attended(mixed)  # type: ignore[no-any-return]


class Dense(nn.Module):
    """Feed-forward network with one hidden layer."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        ratio = config.get("mlp_ratio", 4)
        inner = int(width * ratio) if _is_dino(config) else config.get("intermediate_size", 3072)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self._activation = ACTIVATIONS[config.get("hidden_act", "gelu")]

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        return self.narrow(self._activation(self.widen(x)))  # type: ignore[no-any-return]


class Gated(nn.Module):
    """SwiGLU feed-forward network (Shazeer 2020), two thirds as wide, rounded up to a multiple of 8."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        inner = (int(int(width * config.get("mlp_ratio", 4)) * 2 / 3) + 7) // 8 * 8
        self.widen = nn.Linear(width, 2 * inner)
        self.narrow = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        gate, values = self.widen(x).chunk(2, dim=-1)
        return self.narrow(functional.silu(gate) * values)  # type: ignore[no-any-return]


class DropPath(nn.Module):
    """Stochastic depth: in training, drop the residual branch of random examples (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self._kept = 1 - probability

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, …)."""
        if not self.training:
            return x
        return x * x.new_empty(len(x), *[1] * (x.dim() - 1)).bernoulli_(self._kept) / self._kept


class ClassToken(nn.Module):
    """Pooling by the class token."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, D), the first token."""
        return x[:, 0]


def _is_dino(config: Mapping[str, Any]) -> bool:
    return bool(config["model_type"] == "dinov2")


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


def _published(layer: Mapping[str, str], layers: int) -> Iterator[tuple[str, str]]:
    """Pairs of our name of a part and the publisher's."""
    yield "embeddings.patches", "embeddings.patch_embeddings.projection"
    yield "embeddings.class_token", "embeddings.cls_token"
    yield "embeddings.positions", "embeddings.position_embeddings"
    for i in range(layers):
        yield from ((f"layer_{i}.{ours}", f"encoder.layer.{i}.{theirs}") for ours, theirs in layer.items())
    yield "norm", "layernorm"


_ATTENTION = {
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "attended": "attention.output.dense",
}

VIT_NAMES = {
    **_ATTENTION,
    "norm": "layernorm_before",
    "attended_norm": "layernorm_after",
    "dense.widen": "intermediate.dense",
    "dense.narrow": "output.dense",
}

_DINO = {
    **_ATTENTION,
    "norm": "norm1",
    "attended_norm": "norm2",
    "scale": "layer_scale1.lambda1",
    "dense_scale": "layer_scale2.lambda1",
    "dense.widen": "mlp.fc1",
    "dense.narrow": "mlp.fc2",
}

_GATED = {**_DINO, "dense.widen": "mlp.weights_in", "dense.narrow": "mlp.weights_out"}
