"""Inputs of the trained part of a network from texts, per epoch: sequences of different lengths."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.features.boundary import DISK_SHARE, first_blocks, halved
from transfer_core.features.text import TextExtractor, text_extractor
from transfer_core.features.tokens import PADDING, Reader
from transfer_core.finetune.inputs import Inputs
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Device
from transfer_core.runtime.paths import cache
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Progress


@dataclass(frozen=True)
class TextTrunk:
    """The frozen blocks before the trained part; if there are none, `extractor` is None."""

    reader: Reader
    extractor: TextExtractor | None

    def rows(self, texts: Sequence[Any]) -> Generator[tuple[int, Tensor], None, None]:
        """Yield the number and the input of the first trained block per text, in any order.

        The input is hidden states (L, D) in half precision, or tokens (L, 2) without frozen blocks.
        """
        if self.extractor is None:
            yield from enumerate(torch.from_numpy(windows[0]) for windows in self.reader.windows(texts))
            return
        for batch in self.extractor.hidden(texts):
            yield from ((number, halved(torch.from_numpy(states))) for number, states in batch)


def text_trunk(
    backbone: Backbone, blocks: int, device: Device, precision: str, options: TextOptions
) -> TextTrunk:
    """Return the first `blocks` of `backbone` on `device`."""
    if not blocks:
        return TextTrunk(Reader(backbone, options), None)
    extractor = text_extractor(first_blocks(backbone, blocks), device, precision, options)
    return TextTrunk(extractor.reader, extractor)


def texts(dataset: Dataset, trunk: TextTrunk, size: int, passes: int, progress: Progress) -> Inputs:
    """Return the inputs of texts in batches of `size`, the longest first, cached for several passes."""
    count = len(dataset)
    if trunk.extractor is None or passes > 1:
        with closing(trunk.rows(dataset.inputs)) as rows:
            tracked = progress.track(rows, "fine_tune", count, "texts")
            cached = _cached(tracked, count, in_memory=trunk.extractor is None)
        if cached:
            return lambda numbers, _: _batches(numbers, size, cached)

    def forwarded(numbers: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for chunk in torch.split(numbers, size):
            found = dict(trunk.rows([dataset.inputs[number] for number in chunk.tolist()]))
            yield _longest_first(chunk, [found[row] for row in range(len(chunk))])

    return forwarded


def _batches(numbers: Tensor, size: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for chunk in torch.split(numbers, size):
        yield _longest_first(chunk, [rows[number] for number in chunk.tolist()])


def _longest_first(numbers: Tensor, rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return numbers and padded rows by falling length, so that micro-batches have little padding."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    return numbers[order], _padded([rows[row] for row in order])


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Return rows (L, …) as a batch (N, L, …): tokens are padded with `PADDING`, hidden states with zeros."""
    if len({row.dtype for row in rows}) > 1:
        rows = [row.float() for row in rows]
    filler = 0 if rows[0].is_floating_point() else PADDING
    batch: Tensor = pad_sequence(list(rows), batch_first=True, padding_value=filler)
    return batch


def _cached(rows: Iterable[tuple[int, Tensor]], count: int, in_memory: bool) -> Sequence[Tensor] | None:
    """Return all rows by number; None if disk space or the range of half precision does not suffice."""
    if in_memory:
        tokens = dict(rows)
        return [tokens[number] for number in range(count)]
    return cached_on_disk(rows, count)


def cached_on_disk(rows: Iterable[tuple[int, Tensor]], count: int) -> Sequence[Tensor] | None:
    """Store `count` rows (L, D) in a file; None if disk space or the range of float16 does not suffice."""
    with suppress(OSError):
        make_directory(cache())
        return _on_disk(rows, count, int(DISK_SHARE * shutil.disk_usage(cache()).free))
    return None


def _on_disk(rows: Iterable[tuple[int, Tensor]], count: int, room: int) -> Sequence[Tensor] | None:
    """Store hidden states one after the other in an anonymous file, which is removed with the process."""
    starts, lengths, written, width = np.zeros(count, np.int64), np.zeros(count, np.int64), 0, 0
    # Written, not mapped: a full disk raises OSError instead of a signal.
    with tempfile.TemporaryFile(dir=cache()) as file:
        for number, row in rows:
            if row.dtype != torch.float16 or written * width * 2 > room:
                return None
            file.write(row.contiguous().numpy().tobytes())
            starts[number], lengths[number], width = written, len(row), row.shape[1]
            written += len(row)
        file.flush()
        states = np.memmap(file, np.float16, mode="r", shape=(written, width))
        return _Slices(states, starts, lengths)


class _Slices(Sequence[Tensor]):
    """Hidden states (L, D) of texts by number."""

    def __init__(
        self, states: npt.NDArray[Any], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> None:
        self._states, self._starts, self._lengths = states, starts, lengths

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: Any) -> Any:
        start = self._starts[number]
        return torch.from_numpy(self._states[start : start + self._lengths[number]].copy())
