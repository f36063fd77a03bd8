"""Bounds for networks from untrusted files; no torch here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Limits of what a file may declare: image size in pixels (see `facts.Pixels`), batch size, embedding width.
LARGEST_SIZE, LARGEST_BATCH, LARGEST_WIDTH = 2048, 1024, 1 << 20

# Seconds for loading a network and running one image; for a batch; for each image of a batch.
LOAD_S, BATCH_S, IMAGE_S = 300.0, 60.0, 30.0

# Share of the free memory that a network may use.
MEMORY_SHARE = 0.75


def time_limit(images: int) -> float:
    """Time limit for a batch of so many images, in seconds."""
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
