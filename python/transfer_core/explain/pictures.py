"""Explanations as PNG pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transfer_core.data.drawing import draw_boxes
from transfer_core.explain.alignment import Alignment
from transfer_core.tasks.criteria import Array

# Colors of contributions for and against, and the share of the image that they cover at most.
FOR, AGAINST = (230, 30, 30), (30, 80, 230)
_COVERED = 0.65
# Pixels of the longer side on which labels of boxes are legible.
_LEGIBLE = 320
# Pixels of a cell and of the letters of an alignment; tokens that are drawn at most.
_CELL, _LETTERS, _MOST_TOKENS = 22, 13, 200


def overlay(image: Array, heatmap: Array, boxes: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """An image (H, W, 3) in gray, with contributions (H, W) for a label in red, and against it in blue.

    Parameters
    ----------
    boxes
        `{label, score, x, y, width, height}` in pixels of the image, drawn above; a small image is enlarged.
    """
    strength = scaled(heatmap)
    share = (_COVERED * np.abs(strength))[..., None]
    color = np.where((strength > 0)[..., None], FOR, AGAINST)
    gray = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    picture = Image.fromarray(((1 - share) * gray + share * color).astype(np.uint8))
    if boxes:
        factor = -(-_LEGIBLE // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor))
        sides = ("x", "y", "width", "height")
        draw_boxes(picture, [{**box, **{side: factor * box[side] for side in sides}} for box in boxes])
    return png(picture)


def scaled(heatmap: Array) -> Array:
    """Contributions divided by the largest magnitude."""
    found: Array = heatmap / max(float(np.abs(heatmap).max(initial=0)), 1e-12)
    return found


def matrix(alignment: Alignment) -> bytes:
    """A cell for each pair of tokens of target (rows) and source (columns), the darker the more attention."""
    source, target = alignment.source[:_MOST_TOKENS], alignment.target[:_MOST_TOKENS]
    font = ImageFont.load_default(_LETTERS)
    wide = [round(font.getlength(_printable(piece))) for piece in (*source, *target)]
    left, top = max([*wide[len(source) :], 0]) + 10, max([*wide[: len(source)], 0]) + 10
    picture = Image.new("RGB", (left + _CELL * len(source), top + _CELL * len(target)), "white")
    canvas = ImageDraw.Draw(picture)
    for row, piece in enumerate(target):
        y = top + _CELL * row
        canvas.text((left - 5, y + _CELL / 2), _printable(piece), "black", font, anchor="rm")
        for column in range(len(source)):
            shade = 255 - round(225 * min(1.0, float(alignment.weights[row, column])))
            x = left + _CELL * column
            canvas.rectangle((x, y, x + _CELL - 2, y + _CELL - 2), fill=(shade, shade, 255))
    for column, piece in enumerate(source):
        label = Image.new("RGB", (top, _CELL), "white")
        ImageDraw.Draw(label).text((5, _CELL / 2), _printable(piece), "black", font, anchor="lm")
        picture.paste(label.rotate(90, expand=True), (left + _CELL * column, 0))
    return png(picture)


def png(picture: Image.Image) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _printable(piece: str) -> str:
    """A token in one line of visible letters."""
    return "".join(letter if letter.isprintable() else "·" for letter in piece.strip()[:40]) or "·"
