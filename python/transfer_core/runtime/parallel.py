"""Data parallelism on CPU cores for numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TypeVar

import numpy as np

from transfer_core.runtime.devices import cores

A = TypeVar("A")
B = TypeVar("B")


def map_on_cores(work: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    """Apply `work` to `items` on all cores; yield the results in order."""
    threads = min(cores(), len(items))
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "transfer-core") as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit the matrix products of numpy to one thread each within the block, in all threads.

    Threads that share every product wait for the slowest, and long if other programs use the cores as well.
    It changes nothing where numpy has another library than the OpenBLAS of its wheels.
    """
    global _limited, _usual
    library = _openblas()
    if library is None:
        yield
        return
    with _lock:
        if not _limited:
            _usual = library.scipy_openblas_get_num_threads64_()
            library.scipy_openblas_set_num_threads64_(1)
        _limited += 1
    try:
        yield
    finally:
        with _lock:
            _limited -= 1
            if not _limited:
                library.scipy_openblas_set_num_threads64_(_usual)


_lock, _limited, _usual = Lock(), 0, 1


@cache
def _openblas() -> ctypes.CDLL | None:
    """The library behind numpy's products, found through an extension module that is linked with it."""
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
        library.scipy_openblas_set_num_threads64_  # noqa: B018
    except (AttributeError, OSError):
        return None
    return library
