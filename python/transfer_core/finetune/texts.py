"""What the part of a network that trains sees of texts, epoch by epoch: like images, but of many lengths."""

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

from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.features.boundary import DISK_SHARE, first_blocks, halved
from transfer_core.features.text import TextExtractor, text_extractor
from transfer_core.features.tokens import Reader, padded
from transfer_core.finetune.inputs import Inputs
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.paths import cache
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Progress


@dataclass(frozen=True)
class TextTrunk:
    """The frozen blocks in front, ready to run; without any (`extractor` is None) tokens are passed on."""

    reader: Reader
    extractor: TextExtractor | None

    def rows(self, texts: Sequence[Any]) -> Generator[tuple[int, Tensor], None, None]:
        """For each text its number, in any order, with what the first block that trains sees: hidden states
        (L, D) in half precision, or tokens (L, 2)."""
        if self.extractor is None:
            yield from enumerate(windows[0] for windows in self.reader.windows(texts))
            return
        for batch in self.extractor.hidden(texts):
            yield from ((number, halved(states)) for number, states in batch)


def text_trunk(
    backbone: Backbone, blocks: int, device: torch.device, precision: str, options: TextOptions
) -> TextTrunk:
    """The first `blocks` of `backbone` on `device`."""
    if not blocks:
        return TextTrunk(Reader(backbone, options), None)
    extractor = text_extractor(first_blocks(backbone, blocks), device, precision, options)
    return TextTrunk(extractor.reader, extractor)


def texts(dataset: Dataset, trunk: TextTrunk, size: int, passes: int, progress: Progress) -> Inputs:
    """The texts in batches of `size`, the longest of a batch first; kept on disk if they are needed more than
    once."""
    count = len(dataset)
    if trunk.extractor is None or passes > 1:
        with closing(trunk.rows(dataset.inputs)) as rows:
            tracked = progress.track(rows, "fine_tune", count, "texts")
            kept = _kept(tracked, count, in_memory=trunk.extractor is None)
        if kept:
            return lambda numbers, _: _batches(numbers, size, kept)

    def forwarded(numbers: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for chunk in torch.split(numbers, size):
            found = dict(trunk.rows([dataset.inputs[number] for number in chunk.tolist()]))
            yield _longest_first(chunk, [found[row] for row in range(len(chunk))])

    return forwarded


def _batches(numbers: Tensor, size: int, kept: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for chunk in torch.split(numbers, size):
        yield _longest_first(chunk, [kept[number] for number in chunk.tolist()])


def _longest_first(numbers: Tensor, rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The numbers and a batch of their rows: the pieces that it is cut into have little padding."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    return numbers[order], padded([rows[row] for row in order], len(rows[order[0]]))


def _kept(rows: Iterable[tuple[int, Tensor]], count: int, in_memory: bool) -> Sequence[Tensor] | None:
    """All rows by number; None if the disk is too full for hidden states, or half precision too small."""
    if in_memory:
        tokens = dict(rows)
        return [tokens[number] for number in range(count)]
    with suppress(OSError):
        make_directory(cache())
        return _on_disk(rows, count, int(DISK_SHARE * shutil.disk_usage(cache()).free))
    return None


def _on_disk(rows: Iterable[tuple[int, Tensor]], count: int, room: int) -> Sequence[Tensor] | None:
    """Hidden states one after the other in a file without a name, which is gone with the process."""
    starts, lengths, written, width = np.zeros(count, np.int64), np.zeros(count, np.int64), 0, 0
    # Written, not mapped: a disk that fills up is an error then, not a signal.
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
    """Hidden states (L, D) of texts by their numbers."""

    def __init__(
        self, states: npt.NDArray[Any], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> None:
        self._states, self._starts, self._lengths = states, starts, lengths

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: Any) -> Any:
        start = self._starts[number]
        return torch.from_numpy(self._states[start : start + self._lengths[number]].copy())
