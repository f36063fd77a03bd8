"""Checks on image containers before a decoder allocates the memory that the header declares."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PIL import Image

from transfer_core.runtime.limits import excess

# A scan of a JPEG of 10 bytes makes the decoder go through all pixels: encoders write 10 to 20.
MOST_SCANS = 100

# Markers of ITU-T T.81, table B.1; within the data of a scan a stuffed zero byte and a restart are none.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset([0xC0, 0xC1, 0xC9])
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xDA)])
_TILE_SIDES = (322, 323)  # TIFF 6.0, section 15


def problem_before_opening(content: bytes) -> str | None:
    """The reason that Pillow must not open this file, or None.

    Pillow allocates the canvas of a WebP when it opens it, and decodes every scan of a JPEG.
    """
    if content[8:12] == b"WEBP":
        return excess_pixels(*_webp_size(content))
    if content.startswith(b"\xff\xd8") and _has_many_scans(content):
        return f"it is a JPEG of more than {MOST_SCANS} scans"
    return None


def problem_of_opened(image: Image.Image) -> str | None:
    """The reason that an opened image must not be decoded, or None."""
    if problem := excess_pixels(*image.size):
        return problem
    width, height = (getattr(image, "tag_v2", {}).get(tag, 1) for tag in _TILE_SIDES)
    if isinstance(width, int) and isinstance(height, int):
        # The decoder allocates whole tiles, whatever the size of the image.
        return excess("max_pixels", width * height, f"its tiles of {width} x {height} pixels")
    return "the size of its tiles is damaged"


def excess_bytes(count: int) -> str | None:
    """See `excess`."""
    return excess("max_image_bytes", count, f"its {count} bytes")


def excess_pixels(width: int, height: int) -> str | None:
    """See `excess`."""
    return excess("max_pixels", width * height, f"its {width} x {height} pixels")


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height from the first chunk (RFC 9649); zeros if damaged, which Pillow reports later."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    sides = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
    return sides[0] & 0x3FFF, sides[1] & 0x3FFF


def _has_many_scans(content: bytes) -> bool:
    """Whether a JPEG has more than `MOST_SCANS` scans, not counting thumbnails and data after its end.

    The decoder reads only the first scan of a sequential JPEG if that scan has all components.
    """
    scans = components = 0
    sequential = False
    for marker, place in _segments(content):
        if marker in _FRAMES:
            sequential, components = marker in _SEQUENTIAL, _byte(content, place + 7)
        if marker == _START_OF_SCAN:
            if not scans and sequential and _byte(content, place + 2) == components:
                return False
            scans += 1
            if scans > MOST_SCANS:
                return True
    return False


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Markers with the offset after each, up to the end of the image."""
    place = 2
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        yield marker, place
        if marker == _END_OF_IMAGE:
            return
        if marker not in _WITHOUT_LENGTH:
            place += max(2, int.from_bytes(content[place : place + 2], "big"))


def _byte(content: bytes, place: int) -> int:
    return content[place] if place < len(content) else 0
