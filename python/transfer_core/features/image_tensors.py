"""Batches of images as tensors of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from transfer_core.backbones import Preprocessing
from transfer_core.features.pixels import Pixels


def to_batch(pixels: Sequence[Pixels]) -> Tensor:
    """Stack images into a uint8 tensor (N, 3, H, W) in channels_last memory, with one copy."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def normalize(batch: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """Return (x / 255 - mean) / std of a uint8 batch (N, 3, H, W) in `dtype`, on its device."""
    mean = torch.tensor(preprocessing.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=batch.device).view(1, 3, 1, 1)
    return torch.addcmul(-mean / std, batch.float(), 1 / (255 * std)).to(dtype)
