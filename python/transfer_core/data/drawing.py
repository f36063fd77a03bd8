"""Draw predicted boxes on a photo."""

from __future__ import annotations

import colorsys
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from transfer_core.data.decode import decode_image
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import DataError

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
# Shares of the photo's longer side, with the least number of pixels.
_LINE, _THINNEST = 0.004, 2
_TEXT, _SMALLEST = 0.024, 12
_SIDES = ("x", "y", "width", "height")
# Pixels; and characters of a label.
_LARGEST, _LONGEST = 1e9, 60


def draw(image: str | bytes, prediction: Mapping[str, Any], path: str) -> None:
    """Write a photo with the predicted boxes, their labels and scores to a file.

    Parameters
    ----------
    image
        The path of the photo, or its bytes.
    prediction
        A prediction of a detection model for this photo.
    path
        The file to write, .png, .jpg or .webp; an existing one is replaced.

    Raises
    ------
    DataError
        The photo can't be decoded, the prediction has no boxes or is of another photo, or the file has an
        unknown extension.
    ConfigurationError
        The file can't be written.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in _FORMATS:
        raise DataError(f"can't draw to {path}: expected a name that ends with {', '.join(_FORMATS)}")
    boxes = _boxes(prediction)
    if not isinstance(image, str | bytes):
        raise DataError(f"expected the path or the bytes of an image, got {type(image).__name__}")
    photo = decode_image(image)
    expected = prediction.get("width"), prediction.get("height")
    if expected not in ((None, None), photo.size):
        raise DataError(
            f"the prediction is for an image of {expected[0]} x {expected[1]} pixels, but this one has "
            f"{photo.width} x {photo.height}"
        )
    draw_boxes(photo, boxes)
    with replacing(path) as temporary:
        photo.save(temporary, format=_FORMATS[ending], quality=95)


def draw_boxes(photo: Image.Image, boxes: Sequence[Mapping[str, Any]]) -> None:
    """Draw boxes `{label, score, x, y, width, height}` on a photo, the best on top; a colour per label."""
    canvas = ImageDraw.Draw(photo)
    longer = max(photo.size)
    line = max(_THINNEST, round(_LINE * longer))
    font = ImageFont.load_default(max(_SMALLEST, round(_TEXT * longer)))
    for box in reversed(boxes):
        x, y, width, height = (float(box[side]) for side in _SIDES)
        corners = _within((x, y, x + width, y + height), photo.size)
        colour = colour_of(str(box["label"]))
        canvas.rectangle(corners, outline=colour, width=line)
        _write(canvas, photo.size, corners, f"{box['label'][:_LONGEST]} {box['score']:.2f}", colour, font)


def colour_of(label: str) -> tuple[int, int, int]:
    """The colour of a label, the same in every photo."""
    hue = zlib.crc32(label.encode()) / 2**32
    red, green, blue = colorsys.hls_to_rgb(hue, 0.5, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def _write(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corners: tuple[float, float, float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Write text on a filled background above a box, or within it where there is no room above."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    margin = max(1, round((bottom - top) / 5))
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = max(0, min(corners[0], size[0] - width))
    y = corners[1] - height if corners[1] >= height else corners[1]
    canvas.rectangle((x, y, x + width, y + height), fill=colour)
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = "black" if brightness > 140 else "white"
    canvas.text((x + margin - left, y + margin - top), text, fill=ink, font=font)


def _within(corners: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    right, bottom = size[0] - 1, size[1] - 1
    x1, y1 = min(max(x1, 0), right), min(max(y1, 0), bottom)
    return x1, y1, max(x1, min(x2, right)), max(y1, min(y2, bottom))


def _boxes(prediction: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    boxes = prediction.get("boxes") if isinstance(prediction, Mapping) else None
    if not isinstance(boxes, list | tuple):
        raise DataError("the prediction has no boxes, expected one of a detection model")
    for box in boxes:
        numbers = [box.get(name) for name in ("score", *_SIDES)] if isinstance(box, Mapping) else [None]
        usable = all(isinstance(value, int | float) and abs(value) <= _LARGEST for value in numbers)
        if not usable or not isinstance(box.get("label"), str):
            raise DataError("a box of the prediction has no label, score, x, y, width and height")
    return boxes
