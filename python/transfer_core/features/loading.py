"""Decode images in threads, a few batches ahead of the consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import Pixels
from transfer_core.runtime.errors import DataError

Load: TypeAlias = Callable[[], Pixels]
Loaded: TypeAlias = Pixels | DataError


def load_batches(loads: Sequence[Load], size: int) -> Iterator[list[Loaded]]:
    """Yield the results of `loads` in order, `size` at a time: pixels, or the error of the decoding."""
    batches = (loads[start : start + size] for start in range(0, len(loads), size))
    return map_on_cores(lambda batch: [load_one(load) for load in batch], batches)


def load_one(load: Load) -> Loaded:
    """Return the pixels, or the error of the decoding."""
    try:
        return load()
    except DataError as error:
        return error
