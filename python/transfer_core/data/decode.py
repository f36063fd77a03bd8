"""One encoded image to 8-bit RGB: upright, on white, and never more pixels than are needed."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from transfer_core.data.bad_input import Unreadable, bad_input, explain, open_input, printable
from transfer_core.data.formats import HEADER_BYTES, READABLE, complaint

# Pillow only warns of images above half this size, unless warnings are errors or its limit was moved.
MAX_PIXELS = 178_000_000

_ORIENTATION = 0x0112  # EXIF 2.3, table 4
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(input: str | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode the first frame of an image file, or of its bytes, to RGB.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits.

    Parameters
    ----------
    at_least
        The shorter side that is needed. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still
        is at least this long: several times faster for a photo.
    name
        What an error calls the image; its path by default.

    Raises
    ------
    DataError
        The input is missing, truncated, not an image, or larger than `MAX_PIXELS`.
    """
    path = input if isinstance(input, str) else ""
    try:
        with open_input(input) if isinstance(input, str) else io.BytesIO(input) as file:
            return _decode(file, path, at_least)
    except Unreadable as reason:
        raise bad_input(name or path or "image bytes", str(reason), path) from reason.__cause__


def _decode(file: BinaryIO, path: str, at_least: int | None) -> Image.Image:
    try:
        header = file.read(HEADER_BYTES)
    except OSError as error:
        raise Unreadable(f"it can't be read, {explain(error)}") from error
    if reason := complaint(header, path):
        raise Unreadable(reason)
    file.seek(0)
    # A damaged file makes Pillow's decoders raise nearly anything, from struct.error to TypeError.
    try:
        with Image.open(file, formats=tuple(READABLE)) as image:
            _check_size(image)
            if at_least:
                image.draft(None, (at_least, at_least))
            image.load()
            return _upright(image, _on_white(_eight_bit(image)))
    except (Unreadable, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"it has more than {MAX_PIXELS // 10**6} million pixels") from error
    except UnidentifiedImageError as error:
        raise Unreadable("it is not an image, or its header is damaged") from error
    except Exception as error:
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise Unreadable(
            "the file is truncated" if truncated else f"it is damaged, {_one_line(error)}"
        ) from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"{image.width} x {image.height} is more than {MAX_PIXELS // 10**6} million pixels")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey with its range scaled to 8 bits, where Pillow's own conversion clips it."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.asarray(image)  # (H, W)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise Unreadable("floating-point and 32-bit images need conversion to 8 or 16 bits first")
    return Image.fromarray(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """RGB without transparency, whether it was a channel, a palette entry or one colour."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    see_through = image
    if image.mode not in ("RGBA", "LA"):
        see_through = image.convert("LA" if image.mode == "La" else "RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(see_through, mask=see_through)
    return white


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """`pixels` turned as the EXIF data of `image` say; damaged EXIF data say nothing."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return pixels
    return pixels if turn is None else pixels.transpose(turn)


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
