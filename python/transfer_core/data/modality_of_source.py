"""The modality of a data source that no backbone determines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from transfer_core.data.formats import has_image_extension
from transfer_core.data.manifest import read_manifest
from transfer_core.data.stream import Row
from transfer_core.data.table import TABLE
from transfer_core.recipe.schema import Columns, PathSource, Source, Splits

_LONGEST = 4096


def modality_of(source: Source, columns: Columns, streams: Mapping[str, Sequence[Row]]) -> str:
    """`image`, `text` or `table`, from the columns and the first row.

    A directory has images; the modality of several parts is that of the training part.

    Raises
    ------
    DataError
        The manifest can't be read.
    """
    if isinstance(source, Splits):
        return modality_of(source.train, columns, streams)
    if not isinstance(source, PathSource):
        rows = streams.get(source.stream)
        return _of_input(rows[0].get("input")) if rows else "image"
    path = os.path.expanduser(source.path)
    if not os.path.isfile(path):
        return "image"
    every_column = replace(columns, input=None)
    first = next(iter(read_manifest(path, every_column, TABLE, Path())), None)
    if first is None:
        return "image"
    cells: dict[str, Any] = dict(zip(first.columns, first.input, strict=True))
    if columns.input is None:
        named = {"path": "image", "text": "text"}
        return next((kind for name, kind in named.items() if name in cells), "table")
    chosen = [columns.input] if isinstance(columns.input, str) else list(columns.input)
    values = [cells.get(name) for name in chosen]
    if len(chosen) == 1 and isinstance(values[0], bytes | dict):
        return "image"
    texts = [value for value in values if isinstance(value, str)]
    if len(chosen) == 1 and texts and has_image_extension(texts[0][:_LONGEST]):
        return "image"
    return "text" if len(chosen) <= 2 and len(texts) == len(chosen) else "table"


def _of_input(value: Any) -> str:
    """The modality of the input of a row."""
    if isinstance(value, Mapping):
        return "table"
    if isinstance(value, list | tuple):
        return "text"
    is_text = isinstance(value, str) and not has_image_extension(value[:_LONGEST])
    return "text" if is_text else "image"
