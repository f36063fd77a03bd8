"""Bounds for networks from untrusted files; no torch here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Declared by a file: pixels of a side (see `facts.Pixels`), images at a time, numbers in an embedding.
LARGEST_SIZE, LARGEST_BATCH, LARGEST_WIDTH = 2048, 1024, 1 << 20

# Seconds to load a network and run one image; for a batch, and for each image in it.
LOAD_S, BATCH_S, IMAGE_S = 300.0, 60.0, 30.0

# The share of the memory that is free at the start which a network may take.
MEMORY_SHARE = 0.75


def time_limit(images: int) -> float:
    """Seconds that a batch of so many images may take."""
    return BATCH_S + IMAGE_S * images


@contextmanager
def deadline(seconds: float | None, expire: Callable[[], object]) -> Iterator[None]:
    """Call `expire` from another thread if the block takes longer than `seconds`; None: no limit."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
