"""Files of fixed-width rows, which are only ever appended. Each row says what it is and whether it is whole.

A row that a crash cut in two is no row; whoever appends next writes over it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer_core.cache.layout import (
    CHECK_BYTES,
    HEADER_BYTES,
    KEY_BYTES,
    SUFFIX,
    Layout,
    Records,
    Values,
    check_of,
)
from transfer_core.runtime.permissions import FILE

# Bytes of a file that are in memory at a time.
_WINDOW_BYTES = 1 << 20


class Row(NamedTuple):
    """A whole row; `values` (W,) are a view of a window that is read anew: copy them at once."""

    number: int
    key: bytes
    values: Values


def whole_rows(path: Path, layout: Layout, numbers: Iterable[int] | None = None) -> Iterator[Row]:
    """Of the rows with these (rising) numbers, or of all, those that are there and as they were written.

    Raises
    ------
    OSError
        The file can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        if file.read(HEADER_BYTES) != layout.header:
            return
        count = layout.rows_in(os.fstat(file.fileno()).st_size)
        there = range(count) if numbers is None else [number for number in numbers if number < count]
        for first, length in _spans(there, max(1, _WINDOW_BYTES // layout.stride)):
            yield from _whole_in_span(file, layout, first, length)


def _spans(numbers: Iterable[int], longest: int) -> Iterator[tuple[int, int]]:
    """Rising numbers as spans of neighbours: the first and how many, at most `longest`."""
    first = length = 0
    for number in numbers:
        if length and number == first + length and length < longest:
            length += 1
            continue
        if length:
            yield first, length
        first, length = number, 1
    if length:
        yield first, length


def _whole_in_span(file: FileIO, layout: Layout, first: int, length: int) -> Iterator[Row]:
    # Read, not mapped: a mapped file that another process cuts short kills this one.
    content = os.pread(file.fileno(), length * layout.stride, HEADER_BYTES + first * layout.stride)
    there = len(content) // layout.stride
    block = np.frombuffer(content, np.uint8, there * layout.stride).reshape(there, layout.stride)
    for number, record in enumerate(block, first):
        if record[-CHECK_BYTES:].tobytes() == check_of(record):
            values = record[KEY_BYTES:-CHECK_BYTES].view(layout.dtype)
            yield Row(number, record[:KEY_BYTES].tobytes(), values)


@contextmanager
def opened_to_append(folder: Path, layout: Layout, full_bytes: int) -> Iterator[tuple[int, Path]]:
    """The descriptor and path of a file that is not full and that nobody else writes to: new if need be.

    Nobody ever waits for another process, whatever has become of it. Raises `OSError`.
    """
    descriptor, path = _free_file(folder, layout, full_bytes) or _new_file(folder, layout)
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)


def append(descriptor: int, layout: Layout, records: Records) -> None:
    """Write `records` (N, stride) behind the last whole row, and have the disk hold them.

    Raises
    ------
    OSError
        The disk is full. Rows that came to stand there whole are there all the same.
    """
    end = HEADER_BYTES + layout.rows_in(os.fstat(descriptor).st_size) * layout.stride
    # Nothing may remain behind the new rows of one that was torn.
    os.ftruncate(descriptor, end)
    _write(descriptor, records.tobytes(), end)
    os.fsync(descriptor)


def salvage(path: Path, layout: Layout) -> tuple[int, int]:
    """How many rows of the file are whole, and how many are not; the latter are dropped from it.

    Raises
    ------
    OSError
        The file can't be read, or is being written to.
    """
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        total = layout.rows_in(os.fstat(file.fileno()).st_size)
        whole = [row.number for row in whole_rows(path, layout)]
        if len(whole) < total:
            _replace(path, layout, whole)
    return len(whole), total - len(whole)


def _replace(path: Path, layout: Layout, numbers: Sequence[int]) -> None:
    """Copy rows to a file of another name, so that no index takes it for this one, and delete this one."""
    used = path.stat().st_mtime_ns
    descriptor, copy = _new_file(path.parent, layout)
    try:
        per_copy = max(1, _WINDOW_BYTES // layout.stride)
        for start in range(0, len(numbers), per_copy):
            some = numbers[start : start + per_copy]
            keys, values = zip(
                *((row.key, row.values.copy()) for row in whole_rows(path, layout, some)), strict=True
            )
            append(descriptor, layout, layout.records(keys, np.stack(values)))
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    os.utime(copy, ns=(used, used))
    path.unlink()


def _free_file(folder: Path, layout: Layout, full_bytes: int) -> tuple[int, Path] | None:
    for path in layout.files(folder).values():
        with suppress(OSError):
            if path.stat().st_size >= full_bytes:
                continue
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.pread(descriptor, HEADER_BYTES, 0) != layout.header:
                    path.unlink()
                elif os.fstat(descriptor).st_nlink:
                    descriptor, taken = -1, descriptor
                    return taken, path
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
    return None


def _new_file(folder: Path, layout: Layout) -> tuple[int, Path]:
    token = secrets.token_hex(8)
    temporary, path = folder / f".{token}.tmp", folder / f"{layout.prefix}-{token}{SUFFIX}"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    try:
        # Locked and with its header before others see it: they delete what has none.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(descriptor, layout.header, 0)
        temporary.rename(path)
    except BaseException:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
        raise
    return descriptor, path


def _write(descriptor: int, data: bytes, place: int) -> None:
    """All of it: the system may write less at once, as it does when the disk fills up."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, place)
        left, place = left[written:], place + written
