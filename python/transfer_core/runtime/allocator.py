"""What becomes of memory that is freed. Other C libraries than glibc are left as they are."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Have glibc keep memory that is freed, up to 512 MiB: a network asks for the same sizes in every batch.

    Without it each batch gives its activations back to the system and gets them anew, page by page
    (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and os.confstr("CS_GNU_LIBC_VERSION"):
        mallopt(M_MMAP_THRESHOLD, 512 * 2**20)
        mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
        mallopt(M_TOP_PAD, 16 * 2**20)


@contextmanager
def giving_memory_back() -> Iterator[None]:
    """Afterwards the system gets the memory that glibc kept for the next batch: there is none for a while.

    What follows would come on top of it.
    Threads that allocate meanwhile may wait for some milliseconds (malloc_trim(3)).
    """
    try:
        yield
    finally:
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
