"""Read manifests: CSV, JSONL or Parquet files of inputs and labels."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.data import parquet
from transfer_core.data.bad_input import listed, printable
from transfer_core.data.example import Cell, Example, Labels, group_named
from transfer_core.data.lines import Lines
from transfer_core.data.modality import Modality
from transfer_core.data.stream import part_named
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError, DependencyError, did_you_mean
from transfer_core.runtime.limits import excess, limit

# Levels of lists and objects inside a cell of a JSONL file.
_DEEPEST = 20

Record: TypeAlias = Mapping[str, Any]
# The display name of a row, its cells, and the columns of its input.
Row: TypeAlias = tuple[str, Record, tuple[str, ...]]


@dataclass(frozen=True)
class _Wanted:
    """What to read of a manifest: the names of columns, the kind of input, the column of groups that a split
    keeps together, whether targets must be there, and whether the column of subgroups may be missing."""

    columns: Columns
    modality: Modality
    group: str | None
    labels: Labels
    lacks_subgroups: bool


def read_manifest(
    path: str,
    columns: Columns,
    modality: Modality,
    spool: Path,
    group: str | None = None,
    labels: Labels = "required",
    lacks_subgroups: bool = False,
) -> Iterator[Example]:
    """Read the rows of a manifest.

    Parameters
    ----------
    path
        The file; its extension decides the format. Paths in it are relative to its folder.
    columns
        Names of the input, target and split columns.
    modality
        The kind of input.
    spool
        Temporary directory for embedded images.
    group
        Name of the column of groups. Default: none.
    labels
        Whether the target columns are needed. Where the file has none, or with `none`, all labels are None;
        with `none` a row whose input can't be used is an example with a `problem`.
    lacks_subgroups
        Whether the file may lack the column `columns.group`.

    Raises
    ------
    DataError
        A column is missing, a row is malformed, or its input is empty; the message has the line.
    DependencyError
        A Parquet file without pyarrow.
    """
    read = _READERS.get(os.path.splitext(path)[1].lower())
    if read is None:
        raise DataError(
            f"{printable(path)} is neither a folder nor a manifest (one of: {', '.join(_READERS)})", path
        )
    folder = os.path.dirname(path)
    wanted = _Wanted(columns, modality, group, labels, lacks_subgroups)
    for where, record, inputs in read(path, wanted):
        cells = [record[name] for name in inputs]
        try:
            input, name, named = modality.from_cells(cells, inputs, where, folder, spool)
        except DataError as error:
            if labels == "none":
                yield Example(None, None, None, where, problem=str(error))
                continue
            raise DataError(str(error), path) from None
        split = part_named(record.get(columns.split), where)
        kin = group_named(record[group]) if group else None
        label = None if labels == "none" else _label(record, columns.target)
        subgroup = group_named(record.get(columns.group)) if columns.group else None
        yield Example(input, label, split, name, named, group=kin, subgroup=subgroup)


def _label(record: Record, target: str | tuple[str, ...]) -> Any:
    return record.get(target) if isinstance(target, str) else tuple(record.get(name) for name in target)


def _read_csv(path: str, wanted: _Wanted) -> Iterator[Row]:
    """Read rows separated by the most frequent of comma, semicolon and tab in the header; skip blank rows."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = max(",;\t", key=next(Lines(file, path), "").count)
            file.seek(0)
            # The limit of the csv module is process-wide; `Lines` enforces the configured one.
            csv.field_size_limit(max(csv.field_size_limit(), limit("max_line_length")))
            lines = Lines(file, path)
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(rows, [])]
            inputs, _ = _check_columns(path, header, wanted)
            last = rows.line_num
            for cells in rows:
                lines.length = 0
                where, last = f"{printable(path)} line {last + 1}", rows.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}", path)
                yield where, dict(zip(header, (Cell(cell.strip()) for cell in cells), strict=True)), inputs
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)} is not UTF-8 text, save it as CSV UTF-8", path) from error
    except csv.Error as error:
        raise DataError(f"{printable(path)} line {rows.line_num}: not valid CSV, {error}", path) from error


def _read_jsonl(path: str, wanted: _Wanted) -> Iterator[Row]:
    """Read one JSON object per line; missing keys are empty cells."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            needed: list[str] = []
            lines = Lines(file, path)
            for line in lines:
                lines.length = 0
                if not line.strip():
                    continue
                where = f"{printable(path)} line {lines.number}"
                record = _json_object(line, where, path)
                if not needed:
                    inputs, needed = _check_columns(path, list(record), wanted)
                cells = {name: record.get(name) for name in needed}
                if _is_deeper(cells, _DEEPEST):
                    raise DataError(f"{where}: values are nested more than {_DEEPEST} levels deep", path)
                yield where, cells, inputs
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)} is not UTF-8 text", path) from error


def _json_object(line: str, where: str, path: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        problem = f"{error.msg[0].lower()}{error.msg[1:]} at character {error.pos + 1}"
        raise DataError(f"{where}: not valid JSON, {problem}", path) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets as deep
        raise DataError(f"{where}: not valid JSON, {error}", path) from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object {{…}}, got {type(record).__name__}", path)
    return record


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _read_parquet(path: str, wanted: _Wanted) -> Iterator[Row]:
    """Read the required columns in batches."""
    try:
        import pyarrow
    except ImportError:
        raise DependencyError("a Parquet manifest", "pyarrow", "parquet") from None
    try:
        inputs, needed = _check_columns(path, parquet.column_names(path), wanted)
        for number, record in enumerate(parquet.records(path, needed), start=1):
            yield f"{printable(path)} row {number}", record, inputs
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)} is not a valid Parquet file: {error}", path) from error


_READERS: dict[str, Callable[[str, _Wanted], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def _check_columns(path: str, found: Sequence[str], wanted: _Wanted) -> tuple[tuple[str, ...], list[str]]:
    """The input columns, and all columns to read; only a `split` column of the default name is optional, and
    targets where labels are."""
    columns, modality, group = wanted.columns, wanted.modality, wanted.group
    targets = (columns.target,) if isinstance(columns.target, str) else columns.target
    if wanted.labels != "required":
        targets = tuple(target for target in targets if target in found)
    split = [columns.split] if columns.split in found or columns.split != Columns().split else []
    if problem := excess("max_columns", len(found), f"its {len(found)} columns"):
        raise DataError(f"{printable(path)}: {problem}", path)
    subgroup = columns.group if columns.group in found or not wanted.lacks_subgroups else None
    others = [*targets, *split, *(name for name in (group, subgroup) if name)]
    inputs = modality.columns(found, columns.input, others)
    needed = [*inputs, *others]
    counts = Counter(found)
    for name in needed:
        if not counts[name]:
            nearest = did_you_mean(name, list(found))
            shown = listed(found) or "no columns"
            fix = "" if nearest or not found else _fix(modality, columns, name, inputs)
            raise DataError(
                f'{printable(path)} has no column "{printable(name)}"{nearest} (found: {shown}){fix}', path
            )
        if counts[name] > 1:
            raise DataError(f'{printable(path)} has the column "{printable(name)}" twice', path)
    return inputs, list(dict.fromkeys(needed))


def _fix(modality: Modality, columns: Columns, missing: str, inputs: Sequence[str]) -> str:
    """The remedy for a missing column of a default name, as a clause."""
    if missing == columns.target == Columns().target:
        return '. Fix: columns: { target: "…" } names the column of the labels'
    if missing not in inputs or columns.input is not None:
        return ""
    fix = f'. This backbone takes {modality.many}. Fix: columns: {{ input: "…" }} names their column'
    return f"{fix}, or choose a backbone for texts or tables" if modality.name == "image" else fix
