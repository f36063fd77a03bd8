"""Read parallel text from two files with a line per sentence: `news.en` and `news.de`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.lines import Lines
from transfer_core.data.pairs import PairsRead, TextPair
from transfer_core.runtime.errors import DataError


def paired_stems(names: Sequence[str], source: str, target: str) -> list[str]:
    """The stems of files that are there in both languages.

    >>> paired_stems(["a.en", "a.de", "b.en"], "en", "de")
    ['a']
    """
    present = set(names)
    stems = [name[: -len(source) - 1] for name in sorted(names) if name.endswith(f".{source}")]
    return [stem for stem in stems if f"{stem}.{target}" in present]


def read_paired(folder: str, stem: str, source: str, target: str) -> PairsRead:
    """Read two files line by line.

    Parameters
    ----------
    folder, stem
        The directory, and the name of both files without their extension.
    source, target
        Their extensions.

    Raises
    ------
    DataError
        If one is not UTF-8, or their numbers of lines differ.
    """
    one, other = (_lines(os.path.join(folder, f"{stem}.{ending}")) for ending in (source, target))
    path = os.path.join(folder, f"{stem}.{source}")
    if len(one) != len(other):
        names = listed([f"{stem}.{source}", f"{stem}.{target}"])
        raise DataError(
            f"{printable(folder)}: {names} have {len(one)} and {len(other)} lines, expected a line per "
            "sentence in both. Fix: align them",
            path,
        )
    lines = enumerate(zip(one, other, strict=True), start=1)
    pairs = [TextPair(*texts, f"{printable(path)} line {number}") for number, texts in lines]
    return PairsRead(pairs, {})


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            lines = Lines(file, path)
            found = []
            for line in lines:
                lines.length = 0
                found.append(line.rstrip("\r\n"))
            return found
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)} is not UTF-8 text", path) from error
