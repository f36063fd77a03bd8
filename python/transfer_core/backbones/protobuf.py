"""Read the fields of a protocol buffer without its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Bytes of fixed-size fields per wire type; groups are not supported.
_FIXED = {1: 8, 5: 4}


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number of each field, with its integer or its bytes; slices of `message`.

    Raises
    ------
    ValueError, LookupError
        If it is damaged or no message.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind != 2 and kind not in _FIXED:
            raise ValueError(f"a field of the kind {kind} at byte {place}")
        length, place = _varint(message, place) if kind == 2 else (_FIXED[kind], place)
        if length > len(message) - place:
            raise ValueError("it is cut short")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes | memoryview, place: int) -> tuple[int, int]:
    """A variable-length integer at an offset, and the offset after it."""
    value = shift = 0
    while shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("a number of more than 64 bits")
