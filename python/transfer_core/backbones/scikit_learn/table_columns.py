"""Columns of a table for scikit-learn: detect numbers and categories, and warn about useless columns."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.amounts import DATE, is_amount
from transfer_core.data.bad_input import counted, printable
from transfer_core.data.example import Cell
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

Row = tuple[float | str, ...]

# Texts that mean a missing number.
_NOTHING = {"na", "n/a", "nan", "null", "nil", "none", "-", "--", "?"}
_CODE = re.compile(r"[+-]?0\d")
# With at least so many rows, a column of nearly unique texts is taken for an id.
_ENOUGH_FOR_AN_ID = 20
_EVERYWHERE = "in every training row: it has no information"
_LEAVE_OUT = "it does not generalize to other rows. Fix: leave it out (columns: {input: […]})"


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns, and which of them contain numbers."""

    names: tuple[str, ...]
    numeric: tuple[bool, ...]

    def read(self, cells: Sequence[Any], name: str | None = None) -> Row:
        """Convert a row to numbers and texts; empty cells become NaN and "".

        Raises
        ------
        DataError
            If a cell is text in a column of numbers; the message calls the row `name`.
        """
        return tuple(
            self._number(cell, column, name, cells) if numeric else as_category(cell)
            for cell, column, numeric in zip(cells, self.names, self.numeric, strict=True)
        )

    def array(self, rows: Sequence[Row]) -> npt.NDArray[Any]:
        """Stack rows to an array (N, C): float64 if all columns contain numbers, else objects."""
        return np.array(rows, dtype=np.float64 if all(self.numeric) else object)

    def places(self, numeric: bool) -> list[int]:
        """The indices of the columns of this kind."""
        return [i for i, holds in enumerate(self.numeric) if holds is numeric]

    def named(self, numeric: bool) -> list[str]:
        """The names of the columns of this kind."""
        return [self.names[i] for i in self.places(numeric)]

    def _number(self, cell: Any, column: str, name: str | None, cells: Sequence[Any]) -> float:
        number = as_number(cell, lenient=True)
        if number is None:
            where = name or f"the row {_shown(self.names, cells)}"
            raise DataError(
                f'{where}: {printable(column)} is "{printable(str(cell))}", but held numbers in training '
                "(fix or remove it, or use on_bad_input: :skip)"
            )
        return number


def columns_of(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> Columns:
    """Detect the columns of numbers: those whose cells are numbers or empty.

    In files without types (CSV), texts of numbers are numbers, unless they are codes with a leading 0
    (`01234`).
    """
    return Columns(tuple(names), tuple(_holds_numbers(column) for column in _by_column(rows, names)))


def as_number(cell: Any, lenient: bool) -> float | None:
    """Convert a cell to a number: NaN if it is empty, None if it is not a number.

    Text is converted if it comes from a file without types, or if `lenient`.
    """
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        text = cell.strip()
        if not (lenient or isinstance(cell, Cell)):
            return None
        if text.casefold() in _NOTHING:
            return math.nan
        try:
            number = None if "_" in text else float(text)
        except ValueError:
            return None
    else:
        number = None if isinstance(cell, bool) else _float(cell)
    return number if number is None or math.isfinite(number) else None


def as_category(cell: Any) -> str:
    """Convert a cell to a text independent of the data format: `3.0` is `3`, true is `true`, empty is ""."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return unicodedata.normalize("NFC", str(cell)).strip()


def check_width(rows: Sequence[Sequence[Any]], columns: Columns, most: int, rarest: int) -> None:
    """Check the limits on columns and cells after one-hot encoding.

    Parameters
    ----------
    rows, columns
        The table.
    most
        Maximum number of categories per column.
    rarest
        Minimum number of rows of a category; rarer ones share a column.

    Raises
    ------
    DataError
        If there are too many.
    """
    width = 0
    for texts, numeric in zip(_by_column(rows, columns.names), columns.numeric, strict=True):
        counts = Counter() if numeric else Counter(map(as_category, texts))
        frequent = sum(count >= rarest for count in counts.values())
        width += 1 if numeric else min(most, frequent + (frequent < len(counts)))
    cells = width * len(rows)
    problem = excess("max_columns", width, f"the {width} columns that categories become")
    problem = problem or excess("max_cells", cells, f"the {cells} cells that categories become")
    if problem:
        raise DataError(problem)


def complaints(rows: Sequence[Sequence[Any]], columns: Columns, most_categories: int) -> Iterator[str]:
    """Warnings about columns that are useless or probably misread.

    Parameters
    ----------
    rows, columns
        The table.
    most_categories
        Maximum number of categories per column.
    """
    by_column = zip(_by_column(rows, columns.names), columns.names, columns.numeric, strict=True)
    for cells, name, numeric in by_column:
        about = _about_numbers(cells) if numeric else _about_categories(cells, most_categories)
        if about:
            yield f'the column "{printable(name)}" {about}'


def _holds_numbers(cells: Sequence[Any]) -> bool:
    numbers = [as_number(cell, lenient=False) for cell in cells]
    return None not in numbers and not any(isinstance(cell, str) and _CODE.match(cell) for cell in cells)


def _about_numbers(cells: Sequence[Any]) -> str | None:
    numbers = [as_number(cell, lenient=True) or 0.0 for cell in cells]
    known = {number for number in numbers if not math.isnan(number)}
    if not known:
        return f"is empty {_EVERYWHERE}"
    if len(known) == 1 and not any(map(math.isnan, numbers)):
        return f"is the same {_EVERYWHERE}"
    # Unique integers, with no more gaps than held-out rows leave.
    whole = {number for number in known if number.is_integer()}
    if len(whole) == len(cells) >= _ENOUGH_FOR_AN_ID and max(whole) - min(whole) < 2 * len(cells):
        return f"seems to number the rows: {_LEAVE_OUT}"
    return None


def _about_categories(cells: Sequence[Any], most: int) -> str | None:
    texts = [as_category(cell) for cell in cells]
    present = [text for text in texts if text]
    counts = Counter(present)
    if len(set(texts)) == 1:
        return f"is the same {_EVERYWHERE}"
    example = printable(present[0])
    if _most_match(DATE.match, present):
        return (
            f'holds dates ("{example}"), which are treated as categories. Fix: give '
            "numbers, such as the year or the days since then"
        )
    one_each = len(counts) >= 0.9 * len(present) and len(present) >= _ENOUGH_FOR_AN_ID
    if _most_match(is_amount, present) or (one_each and _most_match(str.isdigit, present)):
        return (
            f'holds numbers written as text ("{example}"), which are treated as categories. '
            "Fix: write them as 1234.5, or as numbers in rows"
        )
    if one_each:
        kinds = counted(len(counts), "different text", "different texts")
        return f"has {kinds} in {len(present)} rows, as an id has: {_LEAVE_OUT}"
    if len(counts) > most:
        return f"has {len(counts)} different texts: all but the {most - 1} most frequent become one category"
    return None


def _most_match(match: Callable[[str], Any], texts: Sequence[str]) -> bool:
    return sum(bool(match(text)) for text in texts) > len(texts) / 2


def _by_column(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(names: Sequence[str], cells: Sequence[Any]) -> str:
    pairs = zip(names, cells, strict=True)
    inside = ", ".join(f"{printable(name)}: {printable(str(cell))}" for name, cell in pairs)
    return f"{{{inside}}}" if len(inside) <= 200 else f"{{{inside[:200]} …}}"
