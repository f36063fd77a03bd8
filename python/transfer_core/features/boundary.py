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
from transfer_core.runtime.paths import cache
from transfer_core.runtime.permissions import make_directory

# The share of the free disk that may be taken.
DISK_SHARE = 0.5


def first_blocks(backbone: Backbone, count: int) -> Backbone:
    """The first `count` blocks of `backbone` themselves, as a backbone without a pool."""
    blocks = dict(list(backbone.blocks.named_children())[:count])
    digest = f"{backbone.weights_digest}, the first {count} blocks"
    files = backbone.assets.files()
    weights, code = backbone.weights, backbone.code
    return Backbone(backbone.facts, blocks, nn.Identity(), weights, digest, files, code).eval()


class Activations:
    """Rows on disk, read a batch at a time: memory stays small however many there are."""

    def __init__(self, rows: npt.NDArray[Any], channels_last: bool) -> None:
        self._rows = rows
        self._channels_last = channels_last

    def read(self, numbers: Tensor) -> Tensor:
        """The rows (N, …) with these numbers: float16, or uint8 if that is what was kept."""
        rows = torch.from_numpy(self._rows[numbers.numpy()])
        return rows.permute(0, 3, 1, 2) if self._channels_last else rows


def as_row(output: npt.NDArray[Any]) -> Tensor:
    """An engine's output for one image as a tensor; a map (C, H, W) in channels_last memory."""
    row = torch.from_numpy(output)
    return row.permute(1, 2, 0).contiguous().permute(2, 0, 1) if row.dim() == 3 else row


def halved(row: Tensor) -> Tensor:
    """float32 as float16, unless a number is beyond its range.

    Not bfloat16, whose range is larger: of its 8 significant bits a loss notices more than of float16's 11.
    """
    half = row.half()
    return half if bool(torch.isfinite(half).all()) else row


def keep_on_disk(rows: Iterator[Tensor], count: int) -> Activations | None:
    """Keep `count` rows of one shape, float16 or uint8; None if the disk is too full, or a row is float32.

    The file has no name: it is gone with the process, however that ends.
    """
    first = next(rows)
    channels_last = _is_channels_last(first)
    shape = _in_file_order(first, channels_last).shape
    with suppress(OSError):
        make_directory(cache())
        if count * first.nbytes > DISK_SHARE * shutil.disk_usage(cache()).free:
            return None
        # Written, not mapped: a disk that fills up is an error then, not a signal.
        with tempfile.TemporaryFile(dir=cache()) as file:
            for row in chain([first], rows):
                if row.dtype not in (torch.float16, torch.uint8):
                    return None
                file.write(_in_file_order(row, channels_last).contiguous().numpy().tobytes())
            file.flush()
            dtype = np.uint8 if first.dtype == torch.uint8 else np.float16
            return Activations(np.memmap(file, dtype, mode="r", shape=(count, *shape)), channels_last)
    return None


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows (…) as a batch (N, …) in the memory format that they have."""
    if len({row.dtype for row in rows}) > 1:
        rows = [row.float() for row in rows]
    if _is_channels_last(rows[0]):
        return torch.stack([row.permute(1, 2, 0) for row in rows]).permute(0, 3, 1, 2)
    return torch.stack(list(rows))


def _in_file_order(row: Tensor, channels_last: bool) -> Tensor:
    return row.permute(1, 2, 0) if channels_last else row


def _is_channels_last(row: Tensor) -> bool:
    """Whether a row (C, H, W) lies in memory as (H, W, C)."""
    return row.dim() == 3 and row.permute(1, 2, 0).is_contiguous()
