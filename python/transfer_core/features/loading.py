"""Decoding in threads, a little ahead of whoever uses the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import Pixels
from transfer_core.runtime.errors import DataError

Load: TypeAlias = Callable[[], Pixels]
Loaded: TypeAlias = Pixels | DataError


def load_batches(loads: Sequence[Load], size: int) -> Iterator[list[Loaded]]:
    """The pixels of `loads` in order, `size` at a time, each image or the error of its decoding."""
    batches = (loads[start : start + size] for start in range(0, len(loads), size))
    return map_on_cores(lambda batch: [load_one(load) for load in batch], batches)


def load_one(load: Load) -> Loaded:
    """The pixels, or the error of their decoding."""
    try:
        return load()
    except DataError as error:
        return error
