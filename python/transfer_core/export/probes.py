"""Made-up inputs on which an exported graph is compared with its model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from typing import Any

import numpy as np
from PIL import Image

from transfer_core.features.probe import PROBE_TEXTS, probe_photos

# Width and height: wide, tall, smaller than a network's input, and large enough to be reduced first.
_SIZES = ((320, 240), (200, 300), (40, 90), (1500, 1100))
_ROWS = 8


def probe_images() -> Sequence[bytes]:
    """Encoded photos of several sizes."""
    photos = probe_photos(256)[-len(_SIZES) :]
    return [_png(Image.fromarray(photo).resize(size)) for photo, size in zip(photos, _SIZES, strict=True)]


def probe_texts(paired: bool) -> Sequence[Any]:
    """Texts, or pairs of texts."""
    return list(pairwise(PROBE_TEXTS)) if paired else list(PROBE_TEXTS)


def probe_rows(chain: Any) -> Sequence[Any]:
    """Rows of a table: medians and missing numbers, known and unknown categories."""
    columns = chain.reader.columns
    first = chain.estimators[0]
    numbers, categories = _known(first)
    may_miss = getattr(first, "features_", columns.places(True))  # of a MissingIndicator
    cells = {
        place: islice(cycle([known, None if place in may_miss else known, known * 1.5 + 1]), _ROWS)
        for place, known in zip(columns.places(True), numbers, strict=True)
    }
    cells |= {
        place: islice(cycle([*known[:3], "unknown", ""]), _ROWS)
        for place, known in zip(columns.places(False), categories, strict=True)
    }
    return list(zip(*(cells[place] for place in sorted(cells)), strict=True))


def _known(first: Any) -> tuple[list[float], list[list[str]]]:
    """Median of each column of numbers, and the categories of each of the others."""
    if not hasattr(first, "transformers_"):
        return np.nan_to_num(getattr(first, "statistics_", np.zeros(first.n_features_in_))).tolist(), []
    parts = {name: transformer for name, transformer, _ in first.transformers_}
    numbers = parts["numbers"].steps[0][1].statistics_.tolist() if "numbers" in parts else []
    categories = parts["categories"].categories_ if "categories" in parts else []
    return numbers, [[str(category) for category in known] for known in categories]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
