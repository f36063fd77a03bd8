"""Read safetensors files that other processes may change: by read(2) from one descriptor, never mapped.

Access to a mapped file that was truncated kills the process (SIGBUS); read(2) returns fewer bytes.
No torch. The format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from transfer_core.model_file import strict_json
from transfer_core.recipe.messages import shown

# Same limit as in the safetensors library, in bytes.
LONGEST_HEADER = 100_000_000
# Names and values in the table of contents; four per tensor.
MOST_FIELDS = 1_000_000

Array: TypeAlias = npt.NDArray[Any]
Offset: TypeAlias = Annotated[int, Meta(ge=0)]

ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "BOOL": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1},
}
# Types that numpy supports, little-endian.
NUMPY_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2"},
    "U8": "|u1",
}


class Malformed(Exception):
    """Invalid file; the message is a predicate: `is cut short: 9 of 20 bytes …`."""


class NotSafetensors(Malformed):
    """The file does not begin with a safetensors header."""


class NotRegular(Malformed):
    """The path is a folder, a device, a pipe or a socket."""


class Place(msgspec.Struct, frozen=True):
    """Entry of a tensor in the table of contents; offsets are in bytes from the end of the header."""

    dtype: str
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**48)], ...], Meta(max_length=32)]
    data_offsets: tuple[Offset, Offset]


@dataclass(frozen=True)
class Table:
    """Table of contents: tensors by name in file order, and the expected sizes.

    `begin` is the offset of the first tensor in the file, `size` the size of the file.
    """

    metadata: dict[str, str]
    places: dict[str, Place]
    begin: int
    size: int


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading; links are followed.

    Raises
    ------
    NotRegular
        The path is a folder, a device, a pipe or a socket.
    OSError
        The file can't be opened.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "the path has a NUL character")
    # Opened before it is examined, as the path could be replaced in between. Opening a pipe must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegular("is not a file")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_table(file: BinaryIO) -> Table:
    """Read the table of contents from the beginning of a file; `check_places` must follow.

    Raises
    ------
    Malformed
        The table is invalid or too large.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    raw = _raw_header(file, size)
    try:
        if (fields := raw.count(b":")) > MOST_FIELDS:
            raise ValueError(f"its header has {fields:,} fields, expected at most {MOST_FIELDS:,}")
        strict_json.check(raw)
        table = strict_json.typed(raw, dict[str, msgspec.Raw])
        metadata = strict_json.typed(table.pop("__metadata__", b"{}"), dict[str, str])
        places = {name: _place(name, place) for name, place in table.items()}
    except ValueError as error:
        raise Malformed(f"is damaged: {error}") from error
    in_order = dict(sorted(places.items(), key=lambda item: item[1].data_offsets))
    return Table(metadata, in_order, 8 + len(raw), size)


def check_places(table: Table) -> None:
    """Check that the tensors fill the file without gaps, each with the bytes that its type and shape need.

    Raises
    ------
    Malformed
        They do not.
    """
    expected = table.begin + max((place.data_offsets[1] for place in table.places.values()), default=0)
    if table.size < expected:
        raise Malformed(f"is cut short: {table.size:,} of {expected:,} bytes are there")
    if table.size > expected:
        raise Malformed(f"is damaged: it has {table.size:,} bytes instead of {expected:,}")
    end = 0
    for name, place in table.places.items():
        begin, previous, end = place.data_offsets[0], end, place.data_offsets[1]
        if begin != previous:
            raise Malformed(
                f"is damaged: the tensor {shown(name)} is at byte {begin:,} instead of {previous:,}"
            )
        needed = math.prod(place.shape) * _item_bytes(place.dtype)
        if end - begin != needed:
            kind = f"{place.dtype} {shown(place.shape)}"
            raise Malformed(
                f"is damaged: the tensor {shown(name)} has {end - begin:,} bytes, {kind} {needed:,}"
            )


def read_raw(file: BinaryIO, table: Table) -> Iterator[tuple[str, Place, Array]]:
    """Read the bytes (N,) uint8 of one tensor after the other, each into memory of its own.

    Raises
    ------
    Malformed
        The file has become shorter, or a boolean is neither 0 nor 1.
    """
    check_places(table)
    file.seek(table.begin)
    for name, place in table.places.items():
        content = np.empty(place.data_offsets[1] - place.data_offsets[0], np.uint8)
        left = content.data
        while left:
            if not (count := file.readinto(left)):  # type: ignore[attr-defined]
                raise Malformed("is cut short: it has become shorter while it was read")
            left = left[count:]
        if place.dtype == "BOOL" and content.size and content.max() > 1:
            raise Malformed(f"is damaged: the tensor {shown(name)} of BOOL has values other than 0 and 1")
        yield name, place, content


def read_arrays(file: BinaryIO, table: Table) -> dict[str, Array]:
    """Read all tensors as numpy arrays.

    Raises
    ------
    Malformed
        A tensor has a type that numpy lacks; or as `read_raw`.
    """
    if unknown := {place.dtype for place in table.places.values()} - NUMPY_DTYPES.keys():
        raise Malformed(f"holds tensors of the type {shown(min(unknown))}, which can't be read")
    return {
        name: content.view(NUMPY_DTYPES[place.dtype]).reshape(place.shape)
        for name, place, content in read_raw(file, table)
    }


def _raw_header(file: BinaryIO, size: int) -> bytes:
    """Read the JSON at the start of the file, with its padding."""
    if size == 0:
        raise Malformed("is empty")
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or not 2 <= length <= LONGEST_HEADER:
        raise NotSafetensors("is no safetensors file, or cut short")
    if 8 + length > size:
        raise Malformed(f"is cut short: {size - 8:,} of the header's {length:,} bytes are there")
    raw = b"{" + file.read(length - 1)
    if len(raw) < length:
        raise Malformed("is cut short: it has become shorter while it was read")
    # Padding is spaces; JSON parsers would accept other whitespace, too.
    if not raw.rstrip(b" ").endswith(b"}"):
        raise Malformed("is damaged: its header does not end as JSON does")
    return raw


def _place(name: str, raw: bytes | msgspec.Raw) -> Place:
    try:
        return strict_json.typed(raw, Place)
    except ValueError as error:
        raise ValueError(f"the tensor {shown(name)}: {error}") from None


def _item_bytes(dtype: str) -> int:
    if dtype not in ITEM_BYTES:
        raise Malformed(f"holds tensors of the type {shown(dtype)}, which can't be read")
    return ITEM_BYTES[dtype]
