"""Read streamed rows: an Active Record relation, an Enumerable, a Python iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.data.bad_input import printable
from transfer_core.data.box_rows import BOXES, box_label
from transfer_core.data.example import PART_NAMES, Example, Labels, Part, group_named
from transfer_core.data.modality import Modality
from transfer_core.runtime.errors import DataError, did_you_mean

Row: TypeAlias = Mapping[str, Any]

_WORDS = ("input", "label", BOXES, "split")
# In place of `input` if the caller could not read it.
_PROBLEM = ("problem", "name")


def read_stream(
    rows: Iterable[Row],
    modality: Modality,
    spool: Path,
    group: str | None = None,
    labels: Labels = "required",
    subgroup: str | None = None,
) -> Iterator[Example]:
    """Read rows `{input:, label:, split:}` or, of images with boxes, `{input:, boxes:, split:}`.

    Pairs of texts may be `{source:, target:}`.

    A row with `{problem:, name:}` instead of `input` stands for an input that the caller could not read.
    Image bytes are written to `spool` under their sha256: one image is in memory at a time.

    Parameters
    ----------
    rows
        The rows.
    modality
        The kind of input.
    spool
        Temporary directory for image bytes.
    group
        Name of the column of groups. Default: none.
    labels
        Whether rows need a label.
    subgroup
        Name of the column of subgroups, which rows may lack. Default: none.

    Raises
    ------
    DataError
        A row without `input`, a label or `group`, or with an unknown key.
    """
    for number, given in enumerate(rows, start=1):
        where, row = f"row {number}", _renamed(given)
        _check_words(row, where, group, labels, subgroup)
        of = group_named(row.get(subgroup)) if subgroup else None
        split, kin = part_named(row.get("split"), where), group_named(row[group]) if group else None
        if "problem" in row:
            name, problem = str(row.get("name", where)), str(row["problem"])
            yield Example(None, _label(row, where), split, name, problem=problem, group=kin, subgroup=of)
            continue
        input, name, columns = modality.from_row(row["input"], where, spool)
        yield Example(input, _label(row, where), split, name, columns, group=kin, subgroup=of)


def _renamed(row: Any) -> Any:
    """A row of a pair of texts under the usual words."""
    if not isinstance(row, Mapping) or "source" not in row or "input" in row or "label" in row:
        return row
    return {{"source": "input", "target": "label"}.get(word, word): value for word, value in row.items()}


def _label(row: Row, where: str) -> Any:
    return box_label(row[BOXES], where) if BOXES in row else row.get("label")


def part_named(value: Any, where: str) -> Part | None:
    """Normalize the name of a part, `"val"` to `"valid"`; None for a missing or empty value."""
    if value is None or str(value).strip() == "":
        return None
    word = str(value).strip().lower()
    if word in PART_NAMES:
        return PART_NAMES[word]
    nearest = did_you_mean(word, list(PART_NAMES))
    raise DataError(f'{where}: unknown split "{printable(str(value))}"{nearest} (one of: train, valid, test)')


def _check_words(row: Any, where: str, group: str | None, labels: Labels, subgroup: str | None) -> None:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected {{input:, label:}}, got {type(row).__name__}")
    if group and group not in row:
        raise DataError(f'{where}: has no "{printable(group)}", by which split group: keeps rows together')
    for word in row:
        if word not in (*_WORDS, *_PROBLEM, group, subgroup):
            nearest = did_you_mean(word, _WORDS)
            raise DataError(
                f'{where}: unknown word "{printable(str(word))}"{nearest} (one of: {", ".join(_WORDS)})'
            )
    if BOXES in row and row.get("label") is not None:
        raise DataError(f"{where}: label and boxes, expected one of them (a row is {{input:, boxes:}})")
    needed = [BOXES if BOXES in row else "label"] if labels == "required" else []
    for word in ("problem" if "problem" in row else "input", *needed):
        if row.get(word) is None:
            raise DataError(f"{where}: {word} is missing (a row is {{input:, label:}})")
