"""Decoding in threads, a little ahead of whoever uses the pixels."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from transfer_core.errors import DataError
from transfer_core.features.pixels import Pixels

Load: TypeAlias = Callable[[], Pixels]
Loaded: TypeAlias = Pixels | DataError


def load_batches(loads: Sequence[Load], size: int) -> Iterator[list[Loaded]]:
    """The pixels of `loads` in order, `size` at a time, each image or the error of its decoding.

    At most two batches per core are in memory.
    """
    threads = os.cpu_count() or 1
    pending: deque[Future[list[Loaded]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for start in range(0, len(loads), size):
            pending.append(pool.submit(_load_all, loads[start : start + size]))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _load_all(loads: Sequence[Load]) -> list[Loaded]:
    return [_load(load) for load in loads]


def _load(load: Load) -> Loaded:
    try:
        return load()
    except DataError as error:
        return error
