"""What the frozen blocks in front of a network make of the images, kept on disk for the epochs to come."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.paths import cache

# The share of the free disk that may be taken.
DISK_SHARE = 0.5


def first_blocks(backbone: Backbone, count: int) -> Backbone:
    """The first `count` blocks of `backbone` themselves, giving what the next block would see."""
    blocks = dict(list(backbone.blocks.named_children())[:count])
    digest = f"{backbone.weights_digest}, the first {count} blocks"
    return Backbone(backbone.facts, blocks, nn.Identity(), backbone.weights, digest).eval()


class Activations:
    """Rows on disk, read a batch at a time: memory stays small however many there are."""

    def __init__(self, rows: npt.NDArray[Any], channels_last: bool) -> None:
        self._rows = rows
        self._channels_last = channels_last

    def read(self, numbers: Tensor) -> Tensor:
        """The rows (N, …) with these numbers: float16, or uint8 if that is what was kept."""
        rows = torch.from_numpy(self._rows[numbers.numpy()])
        return rows.permute(0, 3, 1, 2) if self._channels_last else rows


def keep_on_disk(rows: Iterator[Tensor], count: int) -> Activations | None:
    """Keep `count` rows of one shape, float32 or uint8; None if the disk is too full for them.

    The file has no name: it is gone with the process, however that ends. Floats are kept as float16, whose
    11 significant bits change a loss less than bfloat16's 8 would; None also if one is beyond its range.
    """
    first = next(rows)
    channels_last = _is_channels_last(first)
    with suppress(OSError):
        cache().mkdir(parents=True, exist_ok=True)
        bytes_each = first.numel() * _kept(first, channels_last).itemsize
        if count * bytes_each > DISK_SHARE * shutil.disk_usage(cache()).free:
            return None
        # Written, not mapped: a disk that fills up is an error then, not a signal.
        with tempfile.TemporaryFile(dir=cache()) as file:
            for row in chain([first], rows):
                kept = _kept(row, channels_last)
                if kept.dtype == np.float16 and not np.isfinite(kept).all():
                    return None
                file.write(kept.tobytes())
            file.flush()
            mapped = np.memmap(file, kept.dtype, mode="r", shape=(count, *kept.shape))
            return Activations(mapped, channels_last)
    return None


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows (…) as a batch (N, …) in the memory format that they have."""
    if _is_channels_last(rows[0]):
        return torch.stack([row.permute(1, 2, 0) for row in rows]).permute(0, 3, 1, 2)
    return torch.stack(list(rows))


def _kept(row: Tensor, channels_last: bool) -> npt.NDArray[Any]:
    moved = row.permute(1, 2, 0) if channels_last else row
    halved = moved if row.dtype == torch.uint8 else moved.half()
    return halved.contiguous().numpy()


def _is_channels_last(row: Tensor) -> bool:
    """Whether a row (C, H, W) lies in memory as (H, W, C)."""
    return row.dim() == 3 and row.permute(1, 2, 0).is_contiguous()
