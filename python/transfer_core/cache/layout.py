"""What a file of rows looks like, byte by byte.

A header of 64 bytes, then rows of key (32 bytes), values, crc32 of both (4 bytes).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

SUFFIX = ".rows"
HEADER_BYTES = 64
KEY_BYTES = 32
CHECK_BYTES = 4

_MAGIC = b"tfrows1\n"

Values: TypeAlias = npt.NDArray[Any]
Records: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Rows of `width` values, all from one `owner`: whatever names how they were computed."""

    dtype: np.dtype[Any]
    width: int
    owner: bytes

    @staticmethod
    def of(owner: str, rows: Values) -> Layout:
        """The layout for `rows` (N, W)."""
        return Layout(rows.dtype.newbyteorder("<"), rows.shape[1], sha256(owner.encode()).digest())

    @staticmethod
    def in_header(header: bytes) -> Layout | None:
        """What a file says of itself; None if it isn't one of these."""
        try:
            dtype = np.dtype(header[8:16].decode().strip())
            layout = Layout(dtype, int.from_bytes(header[16:24], "little"), header[24:56])
        except (TypeError, ValueError):
            return None
        return layout if layout.header == header else None

    @cached_property
    def header(self) -> bytes:
        """The first bytes of a file of such rows."""
        facts = _MAGIC + self.dtype.str.encode().ljust(8) + self.width.to_bytes(8, "little") + self.owner
        return (facts + crc32(facts).to_bytes(4, "little")).ljust(HEADER_BYTES, b"\0")

    @cached_property
    def prefix(self) -> str:
        """How the names of such files begin."""
        return sha256(self.header).hexdigest()[:16]

    @property
    def stride(self) -> int:
        """Bytes from row to row."""
        return KEY_BYTES + self.width * self.dtype.itemsize + CHECK_BYTES

    def key(self, name: str) -> bytes:
        """The key of a row, which no row of another layout has."""
        return sha256(self.header + name.encode()).digest()

    def rows_in(self, size: int) -> int:
        """Whole rows in a file of so many bytes."""
        return max(0, size - HEADER_BYTES) // self.stride

    def files(self, folder: Path) -> dict[str, Path]:
        """The files of such rows by name, as far as names tell."""
        names: list[str] = []
        with suppress(OSError):
            names = sorted(os.listdir(folder))
        return {
            name: folder / name for name in names if name.startswith(self.prefix) and name.endswith(SUFFIX)
        }

    def records(self, keys: Sequence[bytes], rows: Values) -> Records:
        """`rows` (N, W) as they stand in a file (N, stride)."""
        records = np.empty((len(keys), self.stride), np.uint8)
        values = np.ascontiguousarray(rows, self.dtype)
        records[:, KEY_BYTES:-CHECK_BYTES] = values.view(np.uint8).reshape(len(keys), -1)
        for record, key in zip(records, keys, strict=True):
            record[:KEY_BYTES] = np.frombuffer(key, np.uint8)
            record[-CHECK_BYTES:] = np.frombuffer(check_of(record), np.uint8)
        return records


def layout_of(path: Path) -> Layout | None:
    """The layout of the rows in a file; None if it isn't a file of rows. Raises `OSError`."""
    with open(path, "rb") as file:
        return Layout.in_header(file.read(HEADER_BYTES))


def check_of(record: Records) -> bytes:
    """The checksum of a row, which stands at its end."""
    return crc32(record[:-CHECK_BYTES].data).to_bytes(CHECK_BYTES, "little")
