"""Rows that a caller hands over one at a time: an Active Record relation, an Enumerable, a Python list."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.data.bad_input import printable
from transfer_core.data.example import PART_NAMES, Example, Part
from transfer_core.errors import ConfigurationError, DataError, did_you_mean

Row: TypeAlias = Mapping[str, Any]

_WORDS = ("input", "label", "split")


def read_stream(rows: Iterable[Row], spool: Path) -> Iterator[Example]:
    """Read rows `{input: path or bytes, label:, split:}`; `split` may be missing.

    Bytes are written to `spool` as they come, under the name of their sha256: only one image is in
    memory at a time, and the same image is kept once.

    Raises
    ------
    DataError
        A row without `input` or `label`, or with a word that is none of the three.
    """
    for number, row in enumerate(rows, start=1):
        where = f"row {number}"
        _check_words(row, where)
        path, name = _locate(row["input"], where, spool)
        yield Example(path, row["label"], part_named(row.get("split"), where), name)


def part_named(value: Any, where: str) -> Part | None:
    """`"val"` → `"valid"`; None for a missing or empty value."""
    if value is None or str(value).strip() == "":
        return None
    word = str(value).strip().lower()
    if word in PART_NAMES:
        return PART_NAMES[word]
    nearest = did_you_mean(word, list(PART_NAMES))
    raise DataError(f'{where}: unknown split "{printable(str(value))}"{nearest} (one of: train, valid, test)')


def spool_bytes(image: bytes, spool: Path) -> str:
    """Write an encoded image to `spool` under its sha256, unless it is there; returns its path."""
    digest = hashlib.sha256(image).hexdigest()
    target = spool / digest[:2] / digest
    if target.exists():
        return str(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another process may spool the same image: each writes its own file, and a rename is atomic.
        descriptor, unfinished = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(image)
            os.replace(unfinished, target)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"can't keep streamed images in {spool}: {reason}") from error
    return str(target)


def _check_words(row: Any, where: str) -> None:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected {{input:, label:}}, got {type(row).__name__}")
    for word in row:
        if word not in _WORDS:
            nearest = did_you_mean(word, _WORDS)
            raise DataError(f'{where}: unknown word "{word}"{nearest} (one of: {", ".join(_WORDS)})')
    for word in ("input", "label"):
        if row.get(word) is None:
            raise DataError(f"{where}: {word} is missing (a row is {{input:, label:}})")


def _locate(value: Any, where: str, spool: Path) -> tuple[str, str]:
    """The path of the image in a row, and what messages call it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return spool_bytes(bytes(value), spool), where
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        return path, f"{where} ({path})"
    raise DataError(f"{where}: input is a path or the bytes of an image, not {type(value).__name__}")
