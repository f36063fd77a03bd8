"""Rows of a table as inputs: a tuple of cells, each text, a number, or None where it is empty."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.data.bad_input import listed
from transfer_core.data.fingerprint import Fingerprint
from transfer_core.data.located import Located
from transfer_core.errors import DataError
from transfer_core.progress import Progress

Cell: TypeAlias = str | float | int | bool | None


class TableModality:
    """See `Modality`."""

    name, one, many = "table", "row", "rows"
    # Rows may be alike and end differently.
    has_one_label = False

    def columns(
        self, header: Sequence[str], said: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """The columns that were said, or all that are neither target nor split."""
        if said is not None:
            return (said,) if isinstance(said, str) else said
        columns = tuple(name for name in header if name not in other)
        if not columns:
            raise DataError("the table has no columns but those of the targets")
        return columns

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """The cells, empty text as None."""
        return Located(tuple(_cell(cell, where) for cell in cells), where, tuple(columns))

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """A mapping from the names of the columns to cells."""
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: input is a row {{column: value}}, not {type(value).__name__}")
        columns = tuple(sorted(map(str, value)))
        cells = {str(name): _cell(cell, where) for name, cell in value.items()}
        return Located(tuple(cells[name] for name in columns), where, columns)

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """The sha256 of the cells as JSON."""
        return [
            Fingerprint(hashlib.sha256(json.dumps(row).encode()).hexdigest())
            for row in progress.track(inputs, "choose", len(inputs), "rows")
        ]

    def is_one(self, value: Any) -> bool:
        """A mapping."""
        return isinstance(value, Mapping)

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """The cells of a mapping in the order of `columns`; it may have others, too."""
        if not isinstance(value, Mapping):
            raise DataError(f"{name}: expected a row {{column: value}}, not {type(value).__name__}")
        if missing := [column for column in columns if column not in value]:
            raise DataError(f"{name}: has no {listed(missing)} (the model knows: {listed(columns)})")
        return tuple(_cell(value[column], name) for column in columns)


def _cell(value: Any, where: str) -> Cell:
    """`value` as one of the types of a cell; text from a file stays text, even `"3.5"`."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return None if isinstance(value, str) and not value.strip() else value
    raise DataError(f"{where}: a cell is text or a number, not {type(value).__name__}")


TABLE = TableModality()
