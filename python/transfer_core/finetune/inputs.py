"""Inputs of the trained part of a network from images, per epoch.

If the images are the same in every epoch, the frozen blocks run once per image and their outputs are cached
on disk. With random views per epoch they run as the batches are made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from transfer_core.backbones import Preprocessing
from transfer_core.data import Dataset
from transfer_core.data.bad_input import without_skip_hint
from transfer_core.features import (
    ImageExtractor,
    Load,
    Pixels,
    embedded_batches,
    load_augmented_pixels,
    load_batches,
    load_pixels,
)
from transfer_core.features.boundary import as_row, halved, keep_on_disk, stacked
from transfer_core.features.image_tensors import to_batch
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.style import ViewChange
from transfer_core.finetune.mixing import Mixer
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

# (numbers of the examples, number of the epoch) -> batches, each as the numbers of its examples (N,) and
# their inputs (N, …).
Inputs: TypeAlias = Callable[[Tensor, int], Iterator[tuple[Tensor, Tensor]]]

T = TypeVar("T")

_AT_ONCE = 8


@dataclass(frozen=True)
class Trunk:
    """The frozen blocks before the trained part; if there are none, `extractor` is None."""

    preprocessing: Preprocessing
    extractor: ImageExtractor | None

    def rows(self, loads: Sequence[Load]) -> Generator[Tensor, None, None]:
        """Yield per image the first trained block's input in half precision, or uint8 pixels (3, H, W).

        Half precision also if it is not cached: free disk space must not change results.
        """
        if self.extractor:
            for outcome in chain.from_iterable(embedded_batches(self.extractor, loads)):
                yield halved(as_row(_readable(outcome)))
        else:
            for pixels in chain.from_iterable(load_batches(loads, _AT_ONCE)):
                yield to_batch([_readable(pixels)])[0]


def unaugmented(dataset: Dataset, trunk: Trunk, size: int, passes: int, progress: Progress) -> Inputs:
    """Return the inputs of unaugmented images in batches of `size`, cached on disk for several passes."""
    loads = [partial(load_pixels, path, trunk.preprocessing) for path in dataset.inputs]

    def batches(numbers: Tensor) -> Iterator[Tensor]:
        return _batched(trunk.rows([loads[number] for number in numbers.tolist()]), size)

    if passes > 1:
        with closing(trunk.rows(loads)) as rows:
            cached = keep_on_disk(progress.track(rows, "fine_tune", len(loads), "images"), len(loads))
        if cached:
            return lambda numbers, _: _numbered(
                numbers, size, map_on_cores(cached.read, torch.split(numbers, size))
            )
    return lambda numbers, _: _numbered(numbers, size, batches(numbers))


def random_views(
    dataset: Dataset,
    trunk: Trunk,
    size: int,
    augmentations: Sequence[ViewChange],
    seed: int,
    mixer: Mixer | None = None,
) -> Inputs:
    """Return the inputs of a new random view per image and epoch, determined by file, seed and epoch; mixed
    with the view of another image if there is a `mixer`."""

    def view(number: int, epoch: int) -> Pixels:
        rng = np.random.default_rng([seed, epoch, int(dataset.digests[number][:16], 16)])
        path = dataset.inputs[number]
        return load_augmented_pixels(path, trunk.preprocessing, augmentations, rng)

    def mixed(number: int, epoch: int) -> Pixels:
        assert mixer
        mix = mixer.mix(number, epoch)
        return mix.pixels(view(number, epoch), view(mix.other, epoch))

    def inputs(numbers: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        loads = [partial(mixed if mixer else view, number, epoch) for number in numbers.tolist()]
        return _numbered(numbers, size, _batched(trunk.rows(loads), size))

    return inputs


def _numbered(numbers: Tensor, size: int, batches: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(numbers, size), batches, strict=True)


def _batched(rows: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    while batch := list(islice(rows, size)):
        yield stacked(batch)


def _readable(outcome: T | DataError) -> T:
    if isinstance(outcome, DataError):
        raise without_skip_hint(outcome)  # inputs can no longer be skipped
    return outcome
