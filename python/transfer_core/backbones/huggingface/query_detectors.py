"""YOLOS (Fang et al. 2021) as blocks: a ViT with a token for each object query."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.huggingface.encoder_layers import ACTIVATIONS, draw
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported
from transfer_core.backbones.huggingface.vision_transformers import VIT_NAMES, Layer
from transfer_core.backbones.representations import FeatureMap
from transfer_core.recipe.messages import shown

# Preprocessing of a repository without preprocessor_config.json.
_PROCESSOR = {"size": 512, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def network(config: Mapping[str, Any]) -> Network:
    """Build the network of a config.json with random weights: `embeddings`, `layer_0` …, `queries`.

    The output of the last block is a map with one place per query: its state, and the logits of its box.
    """
    if config.get("hidden_act", "gelu") not in ACTIVATIONS:
        raise Unsupported(f"the activation {config['hidden_act']}")
    width, layers = config.get("hidden_size", 768), config.get("num_hidden_layers", 12)
    norm = partial(nn.LayerNorm, width, config.get("layer_norm_eps", 1e-12))
    has_positions = config.get("use_mid_position_embeddings", True)
    blocks: dict[str, nn.Module] = {"embeddings": _Tokens(config, width)}
    for i in range(layers):
        table = _Positions(config, width) if has_positions and i < layers - 1 else nn.Identity()
        blocks[f"layer_{i}"] = _Layer(Layer(config, width, norm(), norm()), table)
    blocks["queries"] = Queries(width, _count(config), norm())
    for block in blocks.values():
        block.apply(partial(draw, deviation=config.get("initializer_range", 0.02)))
    names = {
        "embeddings.patches": "embeddings.patch_embeddings.projection",
        "embeddings.class_token": "embeddings.cls_token",
        "embeddings.queries": "embeddings.detection_tokens",
        "embeddings.positions.table": "embeddings.position_embeddings",
        "queries.norm": "layernorm",
        "queries.boxes": "bbox_predictor.layers",
    }
    for i in range(layers):
        parts = VIT_NAMES.items()
        names |= {f"layer_{i}.layer.{own}": f"encoder.layer.{i}.{theirs}" for own, theirs in parts}
        names[f"layer_{i}.positions.table"] = f"encoder.mid_position_embeddings.{i}"
    maps = (FeatureMap("queries", config.get("patch_size", 16), width + 4, queries=True),)
    return Network(blocks, names, width + 4, pool=Mean(), feature_maps=maps, processor=_PROCESSOR)


class _Positions(nn.Module):
    """Add positions of tokens; those of patches are interpolated to the size of square images."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        sides, patch = config.get("image_size", (512, 864)), config.get("patch_size", 16)
        if not isinstance(sides, Sequence) or [type(side) for side in sides] != [int, int]:
            raise Unsupported(f"image_size {shown(sides)}, expected height and width,")
        self._grid = tuple(side // patch for side in sides)
        self._queries = _count(config)
        self.table = nn.Parameter(torch.zeros(1, 1 + math.prod(self._grid) + self._queries, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, 1 + patches + queries, D) -> the same shape."""
        patches = self.table[:, 1 : -self._queries].transpose(1, 2).reshape(1, -1, *self._grid)
        side = math.isqrt(tokens.shape[1] - 1 - self._queries)
        resized = functional.interpolate(patches, (side, side), mode="bicubic").flatten(2).transpose(1, 2)
        return tokens + torch.cat((self.table[:, :1], resized, self.table[:, -self._queries :]), 1)


class _Tokens(nn.Module):
    """Projected patches between the class token and the queries, plus positions."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        patch = config.get("patch_size", 16)
        self.patches = nn.Conv2d(config.get("num_channels", 3), width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.queries = nn.Parameter(torch.zeros(1, _count(config), width))
        self.positions = _Positions(config, width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, 1 + patches + queries, D)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        first, last = (x.expand(len(images), -1, -1) for x in (self.class_token, self.queries))
        tokens: Tensor = self.positions(torch.cat((first, patches, last), 1))
        return tokens


class _Layer(nn.Module):
    """A ViT's layer, and positions after it."""

    def __init__(self, layer: nn.Module, positions: nn.Module) -> None:
        super().__init__()
        self.layer, self.positions = layer, positions

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, D)."""
        moved: Tensor = self.positions(self.layer(tokens))
        return moved


class Queries(nn.Module):
    """The states of the queries, and the logits of their boxes."""

    def __init__(self, width: int, count: int, norm: nn.Module) -> None:
        super().__init__()
        self._count = count
        self.norm = norm
        self.boxes = nn.ModuleList((nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, D) -> (N, D + 4, queries, 1)."""
        states = self.norm(tokens[:, -self._count :])
        first, second, last = self.boxes
        boxes = last(torch.relu(second(torch.relu(first(states)))))
        return torch.cat((states, boxes), 2).transpose(1, 2)[..., None]


class Mean(nn.Module):
    """The mean over the queries."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, queries, 1) -> (N, D)."""
        return x.mean((2, 3))


def _count(config: Mapping[str, Any]) -> int:
    return int(config.get("num_detection_tokens", 100))
