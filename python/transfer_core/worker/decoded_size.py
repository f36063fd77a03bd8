"""Memory limit of decoded MessagePack, computed before decoding: one byte can be a map."""

from __future__ import annotations

import re

from transfer_core.runtime.errors import ProtocolError

# Memory limit of a decoded frame in bytes, apart from the content of text and binary.
LARGEST_DECODED = 256 * 1024 * 1024
# Upper bound of CPython's memory per byte of a frame: empty maps and lists take 73.
MOST_PER_BYTE = 80

# Bytes of memory per value: docs/reference/protocol.md, "Frames".
_SMALL, _NUMBER, _TEXT_OR_LIST, _MAP, _EXTENSION = 8, 40, 72, 200, 1024
# By the first byte of a value: its bytes without members (0: they include a length), and bytes of memory.
_STEPS = [1] * 256
_COSTS = [_SMALL] * 256
_COSTS[0x80:0x90] = [_MAP] * 16
_COSTS[0x90:0xA0] = [_TEXT_OR_LIST] * 16
_COSTS[0xA0:0xC0] = [_TEXT_OR_LIST] * 32
_STEPS[0xA0:0xC0] = range(1, 33)
_STEPS[0xC4:0xE0] = [0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 3, 5, 3, 5]
_COSTS[0xC4:0xE0] = [
    *[_TEXT_OR_LIST] * 3,
    *[_EXTENSION] * 3,
    *[_NUMBER] * 10,
    *[_EXTENSION] * 5,
    *[_TEXT_OR_LIST] * 5,
    *[_MAP] * 2,
]
# By the first byte of a value with a length: the bytes of the length, and all besides the content.
_LENGTHS = {
    **{first: (width, 1 + width) for first, width in zip((0xC4, 0xC5, 0xC6), (1, 2, 4), strict=True)},
    **{first: (width, 2 + width) for first, width in zip((0xC7, 0xC8, 0xC9), (1, 2, 4), strict=True)},
    **{first: (width, 1 + width) for first, width in zip((0xD9, 0xDA, 0xDB), (1, 2, 4), strict=True)},
}
# Of a list: the bytes of its size.
_LONG_LISTS = {0xDC: 2, 0xDD: 4}
_SMALL_VALUES = re.compile(rb"[\x00-\x7f\xc0-\xc3\xe0-\xff]*")


def check_decoded_size(content: bytes, limit: int = LARGEST_DECODED) -> None:
    """Check that decoding `content` takes at most `limit` bytes of memory.

    Raises
    ------
    ProtocolError
        If it could take more. Invalid MessagePack passes: the decoder reports it.
    """
    end = len(content)
    if end * MOST_PER_BYTE <= limit:
        return
    at = total = 0
    while at < end and total <= limit:
        first = content[at]
        total += _COSTS[first]
        at += _STEPS[first] or _length(content, at)
        if width := _LONG_LISTS.get(first):
            run, step = _run(content, at, int.from_bytes(content[at - width : at], "big"))
            total += run * (_SMALL if step == 1 else _NUMBER)
            at += run * step
    if total > limit:
        raise ProtocolError(f"more than {limit} bytes of memory once it is decoded")


def _length(content: bytes, at: int) -> int:
    """Length in bytes of the text, binary or extension at `at`."""
    width, besides = _LENGTHS[content[at]]
    return besides + int.from_bytes(content[at + 1 : at + 1 + width], "big")


def _run(content: bytes, at: int, members: int) -> tuple[int, int]:
    """Number and width of the leading numbers of one width in a list whose `members` start at `at`."""
    kind = content[at : at + 1]
    if not kind or _COSTS[kind[0]] not in (_SMALL, _NUMBER):
        return 0, 1
    step = _STEPS[kind[0]]
    if step == 1:
        small = _SMALL_VALUES.match(content, at, at + members)
        return (small.end() - at if small else 0), 1
    heads = content[at : at + step * members : step]
    return len(heads) - len(heads.lstrip(kind)), step
