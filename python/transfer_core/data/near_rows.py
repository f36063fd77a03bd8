"""Near-duplicate rows of a table: equal to 6 digits, case and spaces, and unlikely by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from transfer_core.data.example import Cell
from transfer_core.data.groups import Edge

# The largest expected number of equal rows under independence.
_BY_CHANCE = 0.05


def near_rows(rows: Sequence[tuple[Any, ...]], check: Callable[[], None]) -> list[Edge]:
    """Pairs that connect all near-duplicates of N rows; `check` raises on cancellation.

    In a table of few categories, rows are equal by chance. Equal rows count as duplicates if their expected
    number under independent columns, N times the product of the shares of their cells, is small.
    """
    plain = [tuple(map(_plain, row)) for row in rows]
    check()
    counts = [Counter(column) for column in zip(*plain, strict=True)]
    first: dict[tuple[Any, ...], int] = {}
    edges = []
    for row, cells in enumerate(plain):
        earlier = first.setdefault(cells, row)
        if earlier != row and _expected(cells, counts, len(plain)) <= _BY_CHANCE:
            edges.append(Edge(earlier, row, 0.0))
    return edges


def _expected(cells: tuple[Any, ...], counts: Sequence[Counter[Any]], rows: int) -> float:
    expected = float(rows)
    for cell, found in zip(cells, counts, strict=True):
        expected *= found[cell] / rows
    return expected


def _plain(cell: Any) -> Any:
    """Normalize a cell: numbers to 6 digits, text to lower case with single spaces."""
    if isinstance(cell, str) and not isinstance(cell, Cell):
        return " ".join(cell.casefold().split())
    try:
        return None if cell is None else f"{float(cell):.6g}"
    except ValueError:
        return " ".join(cell.casefold().split())
