"""DeBERTa's layer (versions 2 and 3) with disentangled attention between content and position.

He et al. 2021 (DeBERTa), section 3.1, with the logarithmic distances and the shared projections of version 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transfer_core.backbones.huggingface.encoder_layers import Layer, Shape, split_heads


@dataclass(frozen=True)
class Distances:
    """Buckets of distances between tokens, in either direction: one per distance up to `near` / 2, then
    logarithmic ones up to `furthest`."""

    near: int
    furthest: int


class DisentangledLayer(Layer):
    """Sum of content-to-content, content-to-distance and distance-to-content attention.

    The publisher's layers share one table of distances; here each has its own, so that layers can be trained
    one by one.
    """

    def __init__(self, shape: Shape, distances: Distances) -> None:
        super().__init__(shape)
        self.distances = nn.Embedding(2 * distances.near, shape.width)
        self.distances_norm = nn.LayerNorm(shape.width, shape.eps)
        self._distances = distances

    def _scale(self, width: int) -> float:
        return 1 / math.sqrt(3 * width)

    def _bias(self, query: Tensor, key: Tensor, scale: float) -> Tensor:
        table = self.dropout(self.distances_norm(self.distances.weight))[None]  # (1, 2 near, D)
        far_key, far_query = (split_heads(dense(table), self.heads) for dense in (self.key, self.query))
        rows = _rows(query.shape[2], self._distances).to(query.device).expand(*query.shape[:2], -1, -1)
        content_to_distance = (query @ far_key.transpose(2, 3)).gather(3, rows)
        distance_to_content = (key @ far_query.transpose(2, 3)).gather(3, rows.transpose(2, 3))
        return scale * (content_to_distance + distance_to_content.transpose(2, 3))


def _rows(length: int, distances: Distances) -> Tensor:
    """Row of the table for the distance between two tokens, (L, L)."""
    places = torch.arange(length)
    distance = places[:, None] - places[None, :]
    half = distances.near // 2
    # Rounded like the publisher's code: integers are the ends of buckets.
    span = torch.tensor((distances.furthest - 1) / half).log()
    far = ((distance.abs().clamp(min=1) / half).log() / span * (half - 1)).ceil().long() + half
    bucket = torch.where(distance.abs() <= half, distance, far * distance.sign())
    return (bucket + distances.near).clamp(0, 2 * distances.near - 1)
