"""Thumbnails of images as JPEG."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from transfer_core.data.decode import decode_sized
from transfer_core.runtime.errors import DataError

# Pixels of the longer side: some 10, 4, 2 and 1 kB.
THUMBNAIL, PICTURE, SMALL, ICON = 192, 112, 64, 48


def thumbnail(path: str, side: int) -> bytes | None:
    """A JPEG of an image with a longer side of at most `side` pixels; None if it can't be read any more."""
    try:
        image, _ = decode_sized(path, longer_at_least=side)
    except DataError:
        return None
    return jpeg(image, side)


def jpeg(image: Image.Image, side: int) -> bytes:
    """Shrink an image to a longer side of at most `side` pixels, and encode it."""
    image = image.convert("RGB")
    image.thumbnail((side, side))
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
