"""Tuning of glibc's allocator for freed memory; no effect with other C libraries."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Keep up to 512 MiB of freed memory for reuse, because every batch allocates the same sizes.

    Otherwise each batch returns its activations to the system and page-faults them in again (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and os.confstr("CS_GNU_LIBC_VERSION"):
        mallopt(M_MMAP_THRESHOLD, 512 * 2**20)
        mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
        mallopt(M_TOP_PAD, 16 * 2**20)


@contextmanager
def releasing_memory() -> Iterator[None]:
    """Return the memory that glibc kept for further batches to the system when the block ends.

    Threads that allocate at that moment may wait for some milliseconds (malloc_trim(3)).
    """
    try:
        yield
    finally:
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
