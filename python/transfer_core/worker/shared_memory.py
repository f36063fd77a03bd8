"""Shared memory with Ruby: two unlinked files, one per direction, for arrays too large for the socket.

`docs/reference/protocol.md`, "Shared memory", specifies blocks and write access. Access is by read(2) and
write(2), not by a mapping, in which a full disk or a truncated file raises SIGBUS.
"""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Any

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.process import LOWEST_DESCRIPTOR
from transfer_core.worker.tensors import ITEM_BYTES, Tensor, TensorBlock, byte_count, to_wire_order

HEADER_BYTES = 64
ALIGNMENT = 64 * 1024
# Below this the socket is as fast (benchmarks/numbers.rb).
LARGEST_INLINE = 256 * 1024


class SharedMemory:
    """The two files of `--memory ITS,OURS`: `its` is read, `ours` is written."""

    def __init__(self, its: int, ours: int) -> None:
        self._its = its
        self._ours = Arena(ours)

    def receive(self, value: Any) -> Any:
        """Copy a block to a tensor and free the block; return any other value unchanged.

        Raises
        ------
        ProtocolError
            If there is no such block.
        """
        if not isinstance(value, TensorBlock):
            return value
        size = byte_count(value.dtype, value.shape)
        if value.offset + HEADER_BYTES + size > os.fstat(self._its).st_size:
            raise ProtocolError(f"a block of {size} bytes at {value.offset} ends beyond its file")
        if (used := _used(self._its, value.offset)) != size:
            raise ProtocolError(f"the block at {value.offset} holds {used} bytes, expected {size}")
        data = bytearray(size)
        _read_into(self._its, memoryview(data), value.offset + HEADER_BYTES)
        _mark(self._its, value.offset, 0)
        return Tensor(value.dtype, value.shape, data)

    def share(self, value: Any) -> Any:
        """Write an array larger than `LARGEST_INLINE` bytes to a block; return any other value unchanged."""
        if not _is_big_array(value):
            return value
        data = to_wire_order(value).reshape(-1).view("u1").data
        return TensorBlock(value.dtype.name, value.shape, self._ours.write(data))


def adopt_shared_memory(its: int, ours: int) -> SharedMemory:
    """Take over the inherited files, not inheritable by children; raises `OSError` if they are not open."""
    safe = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR) for descriptor in (its, ours)]
    for descriptor in (its, ours):
        os.close(descriptor)
    return SharedMemory(*safe)


class Arena:
    """Allocator of blocks in a file; Ruby frees each block after reading it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._blocks: list[tuple[int, int]] = []  # (offset, size) without gaps, in the order of the file
        self._lock = threading.Lock()

    def write(self, data: memoryview) -> int:
        """Write `data` to a free block; return its offset.

        Raises
        ------
        MemoryError
            If the system has no room for it.
        """
        try:
            offset = self._reserve(len(data))
            try:
                _write_all(self._file, data, offset + HEADER_BYTES)
            except OSError:
                _mark(self._file, offset, 0)
                raise
        except OSError as error:
            raise MemoryError(f"no room to share {len(data)} bytes with Ruby: {error.strerror}") from error
        return offset

    def _reserve(self, size: int) -> int:
        needed = -(-(HEADER_BYTES + size) // ALIGNMENT) * ALIGNMENT
        with self._lock:
            self._blocks = self._merged()
            index = self._smallest_free(needed)
            offset, room = self._blocks[index]
            if room < needed:  # it is the last
                os.ftruncate(self._file, offset + needed)
            self._blocks[index : index + 1] = [(offset, needed)]
            if room > needed:
                self._blocks.insert(index + 1, (offset + needed, room - needed))
                _mark(self._file, offset + needed, 0)  # the bytes may be content of an earlier, larger block
            _mark(self._file, offset, size)
        return offset

    def _smallest_free(self, needed: int) -> int:
        """Index of the smallest free block with enough room, else of the last one, which can grow."""
        free = [
            (room, index)
            for index, (offset, room) in enumerate(self._blocks)
            if room >= needed and not _used(self._file, offset)
        ]
        if free:
            return min(free)[1]
        if not self._blocks or _used(self._file, self._blocks[-1][0]):
            self._blocks.append((sum(self._blocks[-1]) if self._blocks else 0, 0))
        return len(self._blocks) - 1

    def _merged(self) -> list[tuple[int, int]]:
        merged: list[tuple[int, int]] = []
        before_is_free = False
        for offset, room in self._blocks:
            is_free = not _used(self._file, offset)
            if is_free and before_is_free:
                before, size = merged.pop()
                offset, room = before, size + room
            merged.append((offset, room))
            before_is_free = is_free
        return merged


def _is_big_array(value: Any) -> bool:
    # Duck typing: importing numpy here would delay the handshake.
    dtype, size = getattr(value, "dtype", None), getattr(value, "nbytes", 0)
    return size > LARGEST_INLINE and getattr(dtype, "name", None) in ITEM_BYTES and hasattr(value, "astype")


def _used(file: int, offset: int) -> int:
    """Bytes in use of a block; 0 beyond the end of the file."""
    return int.from_bytes(os.pread(file, 8, offset), "little")


def _mark(file: int, offset: int, size: int) -> None:
    os.pwrite(file, size.to_bytes(8, "little"), offset)


def _write_all(file: int, data: memoryview, offset: int) -> None:
    done = 0  # Linux writes at most 2 GiB at once
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)


def _read_into(file: int, room: memoryview, offset: int) -> None:
    done = 0
    while done < len(room):
        if not (read := os.preadv(file, [room[done:]], offset + done)):
            raise ProtocolError("a block became shorter while it was read")
        done += read
