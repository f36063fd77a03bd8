"""Table inputs: rows as tuples of cells, each text, a number, or None if empty."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.example import Example
from transfer_core.data.fingerprint import Fingerprint
from transfer_core.data.groups import Edge
from transfer_core.data.located import Located
from transfer_core.data.near_rows import near_rows
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess
from transfer_core.runtime.progress import Progress

Cell: TypeAlias = str | float | int | bool | None


class TableModality:
    """See `Modality`."""

    name, one, many = "table", "row", "rows"
    # Equal rows may have different labels.
    has_one_label = False

    def columns(
        self, header: Sequence[str], chosen: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """The chosen columns, or all named ones but targets and split; pandas writes its index without a
        name."""
        if chosen is not None:
            return (chosen,) if isinstance(chosen, str) else chosen
        columns = tuple(name for name in header if name not in other and name)
        if not columns:
            raise DataError("the table has no columns but those of the targets")
        return columns

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """The cells, with empty text as None."""
        return Located(_row(columns, cells, where), where, tuple(columns))

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """A mapping from the names of the columns to cells."""
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: input is a row {{column: value}}, not {type(value).__name__}")
        if not value:
            raise DataError(f"{where}: input has no columns")
        _check_count(value, where)
        named = {str(name): cell for name, cell in value.items()}
        columns = tuple(sorted(named))
        return Located(_row(columns, [named[name] for name in columns], where), where, columns)

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """The sha256 of the cells as JSON and of the number of equal rows before.

        Equal rows are distinct observations, as in a table of few categories, not copies.
        """
        seen: Counter[str] = Counter()
        prints = []
        for row in progress.track(inputs, "choose", len(inputs), "rows"):
            if problem := _too_long(row):
                prints.append(Fingerprint("", problem))
                continue
            cells = json.dumps(row)
            prints.append(Fingerprint(hashlib.sha256(f"{cells} {seen[cells]}".encode()).hexdigest()))
            seen[cells] += 1
        return prints

    def undecodable(self, inputs: Sequence[Any], progress: Progress) -> dict[int, str]:
        """Empty: rows are already read."""
        return {}

    def near_duplicates(self, inputs: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
        """Rows that are equal, and unlikely by chance."""
        return near_rows(inputs, check)

    def is_one(self, value: Any) -> bool:
        """A mapping."""
        return isinstance(value, Mapping)

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """The cells of a mapping in the order of `columns`; other keys are ignored."""
        if not isinstance(value, Mapping):
            raise DataError(f"{name}: expected a row {{column: value}}, not {type(value).__name__}")
        _check_count(value, name)
        if missing := [column for column in columns if column not in value]:
            raise DataError(f"{name}: has no {listed(missing)} (expected: {listed(columns)})")
        row = _row(columns, [value[column] for column in columns], name)
        if problem := _too_long(row):
            raise DataError(f"{name}: {problem}")
        return row


def with_columns(example: Example, columns: str | tuple[str, ...] | None) -> Example:
    """Select the chosen columns of a table row, in their order; other examples pass unchanged.

    Raises
    ------
    DataError
        If a column is missing.
    """
    chosen = (columns,) if isinstance(columns, str) else columns
    if not example.columns or not chosen:
        return example
    cells = dict(zip(example.columns, example.input, strict=True))
    if missing := [name for name in chosen if name not in cells]:
        raise DataError(f"{example.name}: input has no {listed(missing)} (found: {listed(example.columns)})")
    return replace(example, input=tuple(cells[name] for name in chosen), columns=chosen)


def _check_count(cells: Mapping[Any, Any], where: str) -> None:
    if problem := excess("max_columns", len(cells), f"its {len(cells)} columns"):
        raise DataError(f"{where}: {problem}")


def _too_long(row: Sequence[Cell]) -> str | None:
    """An error message if the longest cell exceeds `max_text_length`."""
    longest = max((len(cell) for cell in row if isinstance(cell, str)), default=0)
    return excess("max_text_length", longest, f"the {longest} characters of a cell")


def _row(columns: Sequence[str], cells: Sequence[Any], where: str) -> tuple[Cell, ...]:
    return tuple(_cell(cell, column, where) for column, cell in zip(columns, cells, strict=True))


def _cell(value: Any, column: str, where: str) -> Cell:
    """Convert `value` to a cell type; text stays text, even `"3.5"`, and times become text."""
    if isinstance(value, np.datetime64):
        value = None if np.isnat(value) else str(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, date | time):
        value = None if value != value else value.isoformat()  # pandas' NaT is not itself
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and math.isinf(value):
        raise DataError(
            f"{where}: {printable(column)} is {value}, expected a finite number. Fix: leave it empty (nil)"
        )
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return None if isinstance(value, str) and not value.strip() else value
    raise DataError(f"{where}: {printable(column)} is text or a number, not {type(value).__name__}")


TABLE = TableModality()
