"""The columns of a table as scikit-learn takes them: which hold numbers, which categories."""

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

from transfer_core.data.bad_input import counted, printable
from transfer_core.data.example import Cell
from transfer_core.data.number_labels import DATE, is_amount
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

Row = tuple[float | str, ...]

# What people write into a cell for which they have no number.
_NOTHING = {"na", "n/a", "nan", "null", "nil", "none", "-", "--", "?"}
_CODE = re.compile(r"[+-]?0\d")
# From so many rows on, a column in which hardly a text comes twice is one of names or numbers of the rows.
_ENOUGH_FOR_AN_ID = 20
_EVERYWHERE = "in every row that is trained on: it tells nothing"
_LEAVE_OUT = "it tells nothing about other rows, leave it out (columns: {input: […]})"


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns, and which of them hold numbers."""

    names: tuple[str, ...]
    numeric: tuple[bool, ...]

    def read(self, cells: Sequence[Any], name: str | None = None) -> Row:
        """A row's numbers, NaN where a cell is empty, and texts, "" where one is.

        Raises
        ------
        DataError
            If a cell is text in a column of numbers; it calls the row `name`.
        """
        return tuple(
            self._number(cell, column, name, cells) if numeric else as_category(cell)
            for cell, column, numeric in zip(cells, self.names, self.numeric, strict=True)
        )

    def array(self, rows: Sequence[Row]) -> npt.NDArray[Any]:
        """(N, C): float64 if all columns hold numbers, else objects."""
        return np.array(rows, dtype=np.float64 if all(self.numeric) else object)

    def places(self, numeric: bool) -> list[int]:
        """Where the columns of that kind stand."""
        return [i for i, holds in enumerate(self.numeric) if holds is numeric]

    def named(self, numeric: bool) -> list[str]:
        """The names of the columns of that kind."""
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
    """A column holds numbers if all its cells that are not empty do.

    Text is a number where a file has no types (CSV), unless it is a code that begins with 0 (`01234`).
    """
    return Columns(tuple(names), tuple(_holds_numbers(column) for column in _by_column(rows, names)))


def as_number(cell: Any, lenient: bool) -> float | None:
    """NaN for an empty cell, None for what is no number. Text can be one if it comes from a file without
    types, or if that is granted."""
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
    """The same text, however a source writes it: `3.0` is `3`, true is `true`; "" for an empty cell."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return unicodedata.normalize("NFC", str(cell)).strip()


def check_width(rows: Sequence[Sequence[Any]], columns: Columns, most: int, rarest: int) -> None:
    """Check the limits on columns and cells for what categories become, a column each.

    Parameters
    ----------
    most
        Categories of a column that get one.
    rarest
        Rows that a category needs; the others of a column share one.

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
    """What the user should know about the columns they train on."""
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
    # Each row has a whole number of its own, with no more gaps than rows that are held out leave.
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
            f'holds dates ("{example}"), which are taken as categories: give numbers, such as the year, or '
            "the days since then"
        )
    one_each = len(counts) >= 0.9 * len(present) and len(present) >= _ENOUGH_FOR_AN_ID
    if _most_match(is_amount, present) or (one_each and _most_match(str.isdigit, present)):
        return (
            f'holds numbers written as text ("{example}"), which are taken as categories: write them as '
            "1234.5, and in rows as numbers"
        )
    if one_each:
        kinds = counted(len(counts), "different text", "different texts")
        return f"has {kinds} in {len(present)} rows, as an id has: {_LEAVE_OUT}"
    if len(counts) > most:
        return f"has {len(counts)} different texts: the {most - 1} most frequent are told apart"
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
