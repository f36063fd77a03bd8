"""Page sizes of a Parquet file, read from page headers because the sums in the footer are not trustworthy.

A reader allocates the size in the page header, and decompression fails if the page is larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

# Thrift's compact protocol (its doc/specs/thrift-compact-protocol.md), as the format of Parquet uses it.
_TRUE, _FALSE, _I8, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 16
_LARGEST_INTEGER = 2**31 - 1
# Bytes to read; the last is Arrow's limit on page headers.
_WINDOWS = (1 << 12, 1 << 17, 1 << 24)
# Fields of PageHeader in parquet.thrift, and for each kind of data page the field of its encoding.
_DECOMPRESSED, _COMPRESSED, _VALUES = 2, 3, 1
_ENCODINGS = {5: 2, 8: 4}


class Damaged(ValueError):
    """A page header that is not valid according to parquet.thrift."""


@dataclass(frozen=True)
class Page:
    """Decompressed bytes, number of values, and their encoding; None for a dictionary."""

    size: int
    values: int
    encoding: int | None


def pages(file: BinaryIO, start: int, length: int) -> Iterator[Page]:
    """Yield the pages of a column chunk.

    Parameters
    ----------
    file
        The Parquet file.
    start, length
        Offset and length of the chunk, in bytes.

    Raises
    ------
    Damaged
        If a header can't be read, or the last page ends elsewhere than the chunk.
    """
    if start < 0 or length < 0:
        raise Damaged("a column has no place")
    place = start
    while place < start + length:
        header, size = _header(file, place)
        place += size + _integer(header, _COMPRESSED)
        values, encoding = 0, None
        for kind, field in _ENCODINGS.items():
            if kind in header:
                values = _integer(header[kind], _VALUES)
                encoding = _integer(header[kind], field)
        yield Page(_integer(header, _DECOMPRESSED), values, encoding)
    if place != start + length:
        raise Damaged("a page is longer than its column")


def _header(file: BinaryIO, place: int) -> tuple[dict[int, Any], int]:
    """The fields of a page header, and its length in bytes."""
    for window in _WINDOWS:
        file.seek(place)
        data = file.read(window)
        try:
            return _struct(data, 0, _DEEPEST)
        except IndexError:
            if len(data) < window:
                break
    raise Damaged("the header of a page has no end")


def _integer(fields: Any, number: int) -> int:
    value = fields.get(number) if isinstance(fields, dict) else None
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_INTEGER:
        raise Damaged("the header of a page lacks a number")
    return value


def _struct(data: bytes, place: int, levels: int) -> tuple[dict[int, Any], int]:
    """Parse a struct: fields by number, None for unused types, and the end offset."""
    if not levels:
        raise Damaged("the header of a page is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[place]:
        number += head >> 4
        place += 1
        if not head >> 4:
            number, place = _zigzag(data, place)
        if number in fields:
            raise Damaged("the header of a page has a field twice")
        fields[number], place = _value(data, place, head & 15, levels)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, levels: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return None, place
    if kind in (_I32, _I16, _I64):
        value, place = _zigzag(data, place)
        # Readers skip a field of another width than 32 bits.
        return value if kind == _I32 else None, place
    if kind == _BINARY:
        size, place = _varint(data, place)
        return None, place + size
    if kind == _STRUCT:
        return _struct(data, place, levels - 1)
    if kind in (_I8, _DOUBLE):
        return None, place + (1 if kind == _I8 else 8)
    raise Damaged("the header of a page has a field of another type")


def _zigzag(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise Damaged("the header of a page has an endless number")
