"""An image, a network of three small blocks and a random head, as the methods of explanation take them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from tiny_backbone import CROP, WIDTH, tiny_backbone
from transfer_core.explain.case import Case
from transfer_core.explain.class_activation import image_tensor
from transfer_core.heads.dense import DenseHead, named


def tiny_case(seed: int = 0, hidden: tuple[int, ...] = ()) -> Case:
    """The logit of the first of three labels less that of the second; `hidden` are widths of the head."""
    rng = np.random.default_rng(seed)
    widths, arrays = (WIDTH, *hidden, 3), {}
    for number, (before, after) in enumerate(pairwise(widths)):
        weight, bias = rng.standard_normal((after, before)), rng.standard_normal(after)
        arrays |= named(2 * number, weight.astype(np.float32), bias.astype(np.float32))
    head, direction, backbone = DenseHead(arrays), np.array([1.0, -1.0, 0.0]), tiny_backbone(seed)

    def score(loaded):
        tensors = [image_tensor(one, backbone) for one in loaded]
        with torch.no_grad():
            return head(backbone(torch.cat(tensors)).numpy()).astype(np.float64) @ direction

    pixels = rng.integers(0, 256, (CROP, CROP, 3), dtype=np.uint8)
    return Case(pixels, backbone, head, (), (), lambda cells: cells, direction, 0.0, None, score)
