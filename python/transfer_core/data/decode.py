"""Decode images to 8-bit RGB: EXIF orientation, transparency on white, reduced-size JPEG decoding."""

from __future__ import annotations

import io
import os
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from transfer_core.data.bad_input import Unreadable, bad_input, explain, open_input, printable
from transfer_core.data.container import excess_bytes, problem_before_opening, problem_of_opened
from transfer_core.data.formats import HEADER_BYTES, READABLE, complaint
from transfer_core.runtime.limits import excess, limit

# Pixels of 16-bit grey that are converted at a time.
_CONVERTED_AT_ONCE = 1 << 20
_WIDER = "floating-point and 32-bit images need conversion to 8 or 16 bits first"

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

    EXIF rotation is applied, transparency is composited on white, 16-bit grey is scaled to 8 bits.

    Parameters
    ----------
    input
        The path of a file, or its bytes.
    at_least
        The required length of the shorter side, in pixels. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size
        if that is still at least this long. Default: full size.
    name
        The display name in errors. Default: the path.

    Returns
    -------
    An image of mode RGB.

    Raises
    ------
    DataError
        The input is missing, truncated, not an image, or above `max_image_bytes` or `max_pixels` (`limits`).
    """
    return decode_sized(input, at_least, name)[0]


def decode_sized(
    input: str | bytes,
    at_least: int | None = None,
    name: str | None = None,
    longer_at_least: int | None = None,
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image as `decode_image` does, and return its full size as well.

    Parameters
    ----------
    input, at_least, name
        As for `decode_image`.
    longer_at_least
        The required length of the longer side instead.

    Returns
    -------
    image
        An image of mode RGB, possibly smaller.
    size
        Width and height of the upright image at full size.
    """
    path = input if isinstance(input, str) else ""
    try:
        return _decode(_read(input), path, at_least, longer_at_least)
    except Unreadable as reason:
        raise bad_input(name or path or "image bytes", str(reason), path) from reason.__cause__


def _read(input: str | bytes) -> bytes:
    """Read the encoded image, up to `max_image_bytes`."""
    if isinstance(input, bytes):
        content = input
    else:
        with open_input(input) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                content = file.read(min(size, limit("max_image_bytes")) + 1)
            except OSError as error:
                raise Unreadable(f"it can't be read, {explain(error)}") from error
    if problem := excess_bytes(len(content)):
        raise Unreadable(problem)
    return content


def _decode(
    content: bytes, path: str, at_least: int | None, longer_at_least: int | None
) -> tuple[Image.Image, tuple[int, int]]:
    if problem := complaint(content[:HEADER_BYTES], path) or problem_before_opening(content):
        raise Unreadable(problem)
    # A damaged file makes Pillow's decoders raise nearly anything, from struct.error to TypeError.
    try:
        with Image.open(io.BytesIO(content), formats=tuple(READABLE)) as image:
            if problem := problem_of_opened(image):
                raise Unreadable(problem)
            width, height = image.size
            if longer_at_least:
                at_least = -(-longer_at_least * min(image.size) // max(image.size))
            if at_least:
                image.draft(None, (at_least, at_least))
            image.load()
            upright = _upright(image, _on_white(_eight_bit(image)))
            # A turn by 90 degrees swaps the sides; a square image has equal ones.
            turned = (upright.width < upright.height) != (image.width < image.height)
            return upright, (height, width) if turned else (width, height)
    except (Unreadable, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(_above_pillows_limit(error)) from error
    except UnidentifiedImageError as error:
        raise Unreadable("it is not an image, or its header is damaged") from error
    except Exception as error:
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise Unreadable(
            "the file is truncated" if truncated else f"it is damaged, {_one_line(error)}"
        ) from error


def _above_pillows_limit(error: Exception) -> str:
    """The message for an image that Pillow refused because of its number of pixels."""
    pixels = re.search("[0-9]+", str(error))
    found = f"its {pixels[0] if pixels else 'many'} pixels"
    problem = excess("max_pixels", int(pixels[0]), found) if pixels else None
    return problem or f"{found} are more than Pillow decodes. Fix: raise PIL.Image.MAX_IMAGE_PIXELS"


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips it."""
    if not image.mode.startswith(("I", "F")):
        return image
    if image.mode == "F":
        raise Unreadable(_WIDER)
    grey = np.asarray(image)  # (H, W)
    eight = np.empty(grey.shape, np.uint8)
    at_once = max(1, _CONVERTED_AT_ONCE // image.width)
    for start in range(0, len(grey), at_once):
        rows = grey[start : start + at_once].astype(np.int64)
        if rows.min() < 0 or rows.max() > 65535:
            raise Unreadable(_WIDER)
        eight[start : start + at_once] = (rows + 128) // 257
    return Image.fromarray(eight)


def _on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB with transparency composited on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    see_through = image
    if image.mode not in ("RGBA", "LA"):
        see_through = image.convert("LA" if image.mode == "La" else "RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(see_through, mask=see_through)
    return white


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """Apply the EXIF orientation of `image` to `pixels`; damaged EXIF data are ignored."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return pixels
    return pixels if turn is None else pixels.transpose(turn)


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
