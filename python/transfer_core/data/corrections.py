"""Corrections of labelled examples from a CSV: other labels, and inputs to leave out."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transfer_core.data.bad_input import escaped, explain, printable
from transfer_core.data.example import Example
from transfer_core.data.formats import has_image_extension
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess
from transfer_core.runtime.temp_dir import is_spooled

# The columns of the table that an audit writes; a training reads `input`, `label` and `keep`.
COLUMNS = ("input", "kind", "label", "suggested", "score", "keep", "detail")
_READ = ("input", "label", "keep")
_KEEP = {"yes": True, "true": True, "1": True, "": True, "no": False, "false": False, "0": False}
_BETWEEN_LABELS = ";"


@dataclass(frozen=True)
class _Correction:
    place: str
    input: str
    label: str
    keep: bool


def key_of(example: Example, row: int) -> str | int:
    """The key of an example in a CSV of corrections: the path of an image file, else its number from 1 on."""
    path = example.input
    is_file = isinstance(path, str) and path in example.name and not is_spooled(path)
    return path if is_file and has_image_extension(path) else row + 1


def label_text(label: Any) -> str:
    """The label as a cell of the CSV; several names with `;` between them, nothing for boxes.

    >>> label_text(3.0), label_text(["red", "round"])
    ('3', 'red;round')
    """
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, list | tuple):
        return _BETWEEN_LABELS.join(map(label_text, label))
    return str(label).strip() if isinstance(label, str | int | float) else ""


def corrected(examples: Sequence[Example], path: str) -> list[Example]:
    """Relabel and leave out examples by the CSV at `path`.

    Parameters
    ----------
    examples
        All examples of the data, in their order.
    path
        A CSV with the columns `input` (a path, or the number of a row from 1 on), `label` and `keep` (yes or
        no); others are ignored. An empty label and one that is equal to that of the data change nothing.

    Raises
    ------
    DataError
        The file can't be read, or a line names no example, contradicts another one, or has a wrong value; the
        message has the number of the line.
    """
    rows = _rows_by_key(examples)
    left_out: set[int] = set()
    labels: dict[int, tuple[str, str]] = {}
    for one in _read(path):
        found = rows.get(os.path.abspath(one.input)) or rows.get(one.input)
        if not found:
            raise DataError(
                f"{one.place}: no example of the data is {printable(one.input)} (expected a path, or the "
                f"number of a row, 1 to {len(examples)})"
            )
        for row in found:
            if not one.keep:
                left_out.add(row)
            if one.label in ("", label_text(examples[row].label)):
                continue
            label, place = labels.setdefault(row, (one.label, one.place))
            if label != one.label:
                both = f'"{printable(one.label)}" contradicts "{printable(label)}"'
                raise DataError(f"{one.place}: the label {both} in {place}")
    changed = {row: _relabelled(examples[row], *labels[row]) for row in labels}
    return [changed.get(row, one) for row, one in enumerate(examples) if row not in left_out]


def _rows_by_key(examples: Sequence[Example]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        rows.setdefault(str(row + 1), []).append(row)
        key = key_of(example, row)
        if isinstance(key, str):
            rows.setdefault(os.path.abspath(key), []).append(row)
    return rows


def _relabelled(example: Example, text: str, place: str) -> Example:
    label = example.label
    if isinstance(label, str):
        return replace(example, label=text)
    if isinstance(label, list | tuple) and all(isinstance(one, str) for one in label):
        return replace(example, label=[name.strip() for name in text.split(_BETWEEN_LABELS) if name.strip()])
    if isinstance(label, int | float):
        try:
            return replace(example, label=float(text))
        except ValueError:
            message = f'{place}: expected a number as label (got "{printable(text)}")'
            raise DataError(message) from None
    raise DataError(f"{place}: labels of this kind can't be replaced. Fix: keep: no leaves the input out")


def _read(path: str) -> Iterator[_Correction]:
    name = printable(path)
    try:
        if problem := excess("max_data_bytes", os.path.getsize(path), "its size in bytes"):
            raise DataError(f"{name}: {problem}", escaped(path))
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield from _lines(csv.reader(file, strict=True), name)
    except OSError as error:
        raise DataError(f"corrections: {name} can't be read: {explain(error)}", escaped(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"corrections: {name} is not UTF-8. Fix: save it as CSV (UTF-8)") from error


def _lines(table: Any, name: str) -> Iterator[_Correction]:
    header: list[str] | None = None
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            raise DataError(f"{name} line {table.line_num}: {error}") from None
        if cells is None:
            break
        place = f"{name} line {table.line_num}"
        if header is None:
            header = cells
            if missing := [column for column in _READ if column not in cells]:
                raise DataError(
                    f"{place}: there is no column {' and '.join(missing)} (expected: {', '.join(_READ)})"
                )
        elif any(cells):
            yield _correction(header, cells, place)
    if header is None:
        raise DataError(f"{name} line 1: the file is empty (expected the columns {', '.join(_READ)})")


def _correction(header: Sequence[str], cells: Sequence[str], place: str) -> _Correction:
    if len(cells) != len(header):
        raise DataError(f"{place}: {len(cells)} cells, expected {len(header)} as in the first line")
    named = dict(zip(header, cells, strict=True))
    keep = _KEEP.get(named["keep"].strip().lower())
    if keep is None:
        raise DataError(f'{place}: keep is yes or no (got "{printable(named["keep"])}")')
    return _Correction(place, named["input"], named["label"].strip(), keep)
