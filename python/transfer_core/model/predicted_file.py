"""Write predictions as a Parquet, CSV or JSON Lines file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import ConfigurationError, DependencyError

Row: TypeAlias = dict[str, Any]

# Rows of a row group of a Parquet file.
_GROUP = 10_000


def check_target(path: Path) -> None:
    """Raise unless predictions can be written to `path`.

    Raises
    ------
    ConfigurationError
        It has another extension, or there is no such folder.
    DependencyError
        A Parquet file without pyarrow.
    """
    if path.suffix.lower() not in _WRITERS:
        names = ", ".join(_WRITERS)
        raise ConfigurationError(f"can't write predictions to {path}: expected a name that ends with {names}")
    if not path.parent.is_dir():
        raise ConfigurationError(f"can't save to {path}: there is no folder {path.parent}; make it first")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise DependencyError("a Parquet file", "pyarrow", "parquet") from None


def write_predictions(rows: Callable[[], Iterable[Row]], path: Path) -> int:
    """Write predictions to `path`, which appears whole or not at all, and return how many have an `error`.

    Columns are `row`, `input`, those that the predictions have (docs/reference/prediction.md) and `error`.
    Lists and mappings are nested values in Parquet and JSON, and JSON texts in CSV.

    Parameters
    ----------
    rows
        Gives the predictions, the same in each call: they are read twice and never held in memory.
    path
        A file that `check_target` accepts.
    """
    found: set[str] = set()
    failed = 0
    for row in rows():
        found |= row.keys()
        failed += "error" in row
    columns = [name for name in _KINDS if name in found or name == "error"]
    with replacing(path) as temporary:
        _WRITERS[path.suffix.lower()](rows(), columns, temporary)
    return failed


def _write_jsonl(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            present = {name: row[name] for name in columns if name in row}
            file.write(json.dumps(present, ensure_ascii=False) + "\n")


def _write_csv(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value


def _write_parquet(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema([(name, _arrow(_KINDS[name])) for name in columns])
    rows = iter(rows)
    with ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pyarrow.Table.from_pylist([_with_pairs(row) for row in group], schema))


def _with_pairs(row: Row) -> Row:
    """The row with mappings as lists of pairs, as Arrow takes them."""
    return {
        name: list(value.items()) if isinstance(_KINDS.get(name), _Map) and value is not None else value
        for name, value in row.items()
    }


def _arrow(kind: _Kind) -> Any:
    import pyarrow

    if isinstance(kind, _Map):
        return pyarrow.map_(pyarrow.string(), _arrow(kind.value))
    if isinstance(kind, list):
        return pyarrow.list_(_arrow(kind[0]))
    if isinstance(kind, dict):
        return pyarrow.struct([(name, _arrow(inner)) for name, inner in kind.items()])
    return {
        "text": pyarrow.string,
        "integer": pyarrow.int64,
        "number": pyarrow.float64,
        "flag": pyarrow.bool_,
    }[kind]()


@dataclass(frozen=True)
class _Map:
    """A mapping of texts to values of one kind."""

    value: _Kind


_Kind: TypeAlias = "str | _Map | list[_Kind] | dict[str, _Kind]"

_PLACE: dict[str, _Kind] = dict.fromkeys(("x", "y", "width", "height"), "number")
# The kind of each column, in their order in the file.
_KINDS: dict[str, _Kind] = {
    "row": "integer",
    "input": "text",
    "label": "text",
    "labels": ["text"],
    "text": "text",
    "score": "number",
    "value": "number",
    "values": _Map("number"),
    "set": ["text"],
    "interval": ["number"],
    "intervals": _Map(["number"]),
    "boxes": [{"label": "text", "score": "number", **_PLACE, "outer": _PLACE}],
    "width": "integer",
    "height": "integer",
    "scores": _Map("number"),
    "candidates": [{"text": "text", "score": "number"}],
    "placeholders": {"missing": ["text"], "extra": ["text"]},
    "novelty": "number",
    "unknown": "flag",
    "error": "text",
}

_WRITERS: dict[str, Callable[[Iterable[Row], Sequence[str], Path], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
