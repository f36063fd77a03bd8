"""DETR (Carion et al. 2020) as blocks: a ResNet, a transformer encoder, and a decoder of object queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.huggingface.convolutional_networks import resnet
from transfer_core.backbones.huggingface.encoder_layers import attention, draw, split_heads
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported
from transfer_core.backbones.huggingface.query_detectors import Mean, Queries
from transfer_core.backbones.representations import FeatureMap
from transfer_core.recipe.messages import shown

# Preprocessing of a repository without preprocessor_config.json.
_PROCESSOR = {"size": 800, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

# The ResNets that published files take from timm.
_TIMM: dict[str, dict[str, Any]] = {
    "resnet18": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "resnet34": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3]},
    "resnet50": {"depths": [3, 4, 6, 3]},
    "resnet101": {"depths": [3, 4, 23, 3]},
}


def network(config: Mapping[str, Any]) -> Network:
    """Build the network of a config.json with random weights: the ResNet's blocks, `project`, `encoder_0` …,
    `decoder_0` …, `queries`.

    The output of the last block is a map with one place per query: its state, and the logits of its box.
    """
    if config.get("position_embedding_type", "sine") != "sine" or config.get("dilation"):
        raise Unsupported("learned positions or a dilated ResNet")
    if config.get("activation_function", "relu") != "relu":
        raise Unsupported(f"the activation {config['activation_function']}")
    width, count = config.get("d_model", 256), config.get("num_queries", 100)
    trunk, names = _trunk(config)
    blocks = {**trunk.blocks, "project": _Project(trunk.width, width)}
    encoders, decoders = (config.get(f"{part}_layers", 6) for part in ("encoder", "decoder"))
    blocks |= {f"encoder_{i}": _EncoderLayer(config, width) for i in range(encoders)}
    blocks |= {f"decoder_{i}": _DecoderLayer(config, width, count, i == 0) for i in range(decoders)}
    blocks["queries"] = Queries(width, count, nn.LayerNorm(width))
    for name, block in blocks.items():
        if name not in trunk.blocks:
            block.apply(partial(draw, deviation=config.get("init_std", 0.02)))
    names |= dict(_published(encoders, decoders))
    maps = (FeatureMap("queries", 32, width + 4, queries=True),)
    return Network(blocks, names, width + 4, pool=Mean(), feature_maps=maps, processor=_PROCESSOR)


def _trunk(config: Mapping[str, Any]) -> tuple[Network, dict[str, str]]:
    """The ResNet, and the published names of its parts."""
    inner = config.get("backbone_config") or {}
    kind = config.get("backbone") or inner.get("backbone") or inner.get("model_type")
    if kind == "resnet":
        trunk = resnet(inner)
        prefix = "backbone.conv_encoder.model."
        return trunk, {ours: prefix + theirs for ours, theirs in trunk.published.items()}
    if kind not in _TIMM:
        raise Unsupported(f"the backbone {shown(kind)} (one of: resnet, {', '.join(_TIMM)})")
    trunk = resnet(_TIMM[kind])
    return trunk, dict(_timm_names(trunk))


def _timm_names(trunk: Network) -> Iterator[tuple[str, str]]:
    """From our names to timm's: `stage1_0.narrow.0` is `layer1.0.conv1`."""
    for ours in trunk.published:
        block, *part, index = ours.split(".")
        if block == "stem":
            theirs = ("conv1", "bn1")[int(index)]
        else:
            stage, number = block.removeprefix("stage").split("_")
            parts = list(type(trunk.blocks[block]).PARTS)  # type: ignore[attr-defined]
            place = parts.index(part[0]) + 1 if part[0] in parts else 0
            layer = f"{('conv', 'bn')[int(index)]}{place}" if place else f"downsample.{index}"
            theirs = f"layer{stage}.{number}.{layer}"
        yield ours, f"backbone.conv_encoder.model.{theirs}"


def _published(encoders: int, decoders: int) -> Iterator[tuple[str, str]]:
    yield "project.project", "input_projection"
    yield "queries.norm", "decoder.layernorm"
    yield "queries.boxes", "bbox_predictor.layers"
    for part, layers in (("encoder", encoders), ("decoder", decoders)):
        for i in range(layers):
            yield from layer_names(f"{part}_{i}", f"{part}.layers.{i}")
            # Each layer has its own copy of the one published table.
            yield f"{part}_{i}.places", "query_position_embeddings.weight"


def layer_names(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    """From our names of the parts of an encoder or decoder layer to the publisher's."""
    for attended, name in (("own", "self_attn"), ("memory", "encoder_attn")):
        yield f"{ours}.{attended}_norm", f"{theirs}.{name}_layer_norm"
        for letter in "qkvo":
            projection = "out_proj" if letter == "o" else f"{letter}_proj"
            yield f"{ours}.{attended}.{letter}", f"{theirs}.{name}.{projection}"
    yield f"{ours}.dense.0", f"{theirs}.fc1"
    yield f"{ours}.dense.2", f"{theirs}.fc2"
    yield f"{ours}.dense_norm", f"{theirs}.final_layer_norm"


class _Project(nn.Module):
    """Project the map of the ResNet to tokens."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(before, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, S², D)."""
        return self.project(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head attention whose positions are added to queries and keys, not to values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self._heads = heads

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(N, L, D), (N, M, D), (N, M, D) -> (N, L, D)."""
        parts = zip((self.q, self.k, self.v), (query, key, value), strict=True)
        q, k, v = (split_heads(layer(x), self._heads) for layer, x in parts)
        return self.o(attention(q, k, v, None, q.shape[-1] ** -0.5, 0.0))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Self-attention and the dense part of encoder and decoder layers, each with a norm after it."""

    def __init__(self, width: int, heads: int, inner: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.own = Attention(width, heads)
        self.own_norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dense = nn.Sequential(nn.Linear(width, inner), activation(), nn.Linear(inner, width))

    def attend(self, x: Tensor, places: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        return self.own_norm(x + self.own(x + places, x + places, x))  # type: ignore[no-any-return]

    def finish(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        return self.dense_norm(x + self.dense(x))  # type: ignore[no-any-return]


class _EncoderLayer(Layer):
    """A layer over the tokens of the map."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__(width, config.get("encoder_attention_heads", 8), config.get("encoder_ffn_dim", 2048))

    def forward(self, memory: Tensor) -> Tensor:
        """(N, S², D) -> (N, S², D)."""
        return self.finish(self.attend(memory, _positions(memory)))


class _DecoderLayer(Layer):
    """A layer over the queries, which stand behind the tokens of the map; the first appends them."""

    def __init__(self, config: Mapping[str, Any], width: int, count: int, is_first: bool) -> None:
        heads = config.get("decoder_attention_heads", 8)
        super().__init__(width, heads, config.get("decoder_ffn_dim", 2048))
        self.memory = Attention(width, heads)
        self.memory_norm = nn.LayerNorm(width)
        self.places = nn.Parameter(0.02 * torch.randn(count, width))
        self._is_first = is_first

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, S² or S² + queries, D) -> (N, S² + queries, D)."""
        count = len(self.places)
        if self._is_first:
            memory, queries = tokens, tokens.new_zeros(len(tokens), count, tokens.shape[2])
        else:
            memory, queries = tokens[:, :-count], tokens[:, -count:]
        queries = self.attend(queries, self.places)
        seen = self.memory(queries + self.places, memory + _positions(memory), memory)
        return torch.cat((memory, self.finish(self.memory_norm(queries + seen))), 1)


def _positions(memory: Tensor) -> Tensor:
    """Sines and cosines (S², D) of rows and columns of a square map (Carion et al. 2020, appendix A.4)."""
    _, places, width = memory.shape
    side, half = math.isqrt(places), width // 2
    steps = torch.arange(1, side + 1, dtype=torch.float32, device=memory.device) / (side + 1e-6) * 2 * math.pi
    exponents = 2 * torch.div(torch.arange(half, device=memory.device), 2, rounding_mode="floor") / half
    angles = steps[:, None] / 10000**exponents
    waves = torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), 2).flatten(1)
    rows = waves[:, None].expand(side, side, half)
    columns = waves[None].expand(side, side, half)
    return torch.cat((rows, columns), 2).flatten(0, 1).to(memory.dtype)
