"""Read parallel text: catalogues, translation memories, paired text files, and folders of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from transfer_core.data.bad_input import escaped, listed, printable
from transfer_core.data.example import PART_NAMES, Example, Part
from transfer_core.data.mo_catalogue import read_mo
from transfer_core.data.paired_files import paired_stems, read_paired
from transfer_core.data.pairs import PairsRead
from transfer_core.data.po_catalogue import read_po
from transfer_core.data.translation_memory import read_tmx
from transfer_core.recipe.schema import Columns, Languages
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess
from transfer_core.runtime.progress import Progress

_CATALOGUES = {".po": read_po, ".mo": read_mo}
_KNOWN = (*_CATALOGUES, ".tmx")
# Columns of a manifest, in the order in which they are looked for.
_SOURCES = ("source", "input", "text", "src")
_TARGETS = ("target", "label", "translation", "tgt")


def is_parallel_file(path: str) -> bool:
    """Whether a file is a catalogue or a translation memory."""
    return path.lower().endswith(_KNOWN)


def pair_columns(path: str, header: Sequence[str], columns: Columns) -> Columns:
    """The columns of a manifest of pairs: those of the recipe, or known names that the header has.

    >>> pair_columns("pairs.csv", ["id", "source", "target"], Columns()).input
    'source'

    Raises
    ------
    DataError
        If neither names them.
    """
    default = Columns()
    source = next((name for name in _SOURCES if name in header), None)
    target = next((name for name in _TARGETS if name in header), None)
    missing = [
        word
        for word, found, given in (
            ("source", source, columns.input is not None),
            ("target", target, columns.target != default.target),
        )
        if header and not found and not given
    ]
    if missing:
        raise DataError(
            f"{printable(path)} has no column {' and no column '.join(missing)} (found: {listed(header)}). "
            'Fix: columns: { input: "en", target: "de" } names the columns of sources and targets',
            path,
        )
    return Columns(
        columns.input if columns.input is not None else source,
        target if columns.target == default.target and target else columns.target,
        columns.split,
    )


def read_parallel_file(
    path: str, columns: Columns, languages: Languages, progress: Progress
) -> list[Example]:
    """Read a catalogue or a translation memory; entries without a translation are left out with a warning.

    Raises
    ------
    DataError
        If it can't be read.
    """
    return _examples(_read(path, columns, languages), printable(path), None, progress)


def read_parallel_folder(
    folder: str, columns: Columns, languages: Languages, progress: Progress
) -> list[Example]:
    """Read all catalogues and translation memories below a folder, or pairs of text files in it.

    Pairs of files `train`, `valid` and `test` are parts of a split.

    Raises
    ------
    DataError
        If there are none, or one can't be read.
    """
    files = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    if parallel := sorted(path for path in files if is_parallel_file(path)):
        found, left_out = [], Counter[str]()
        for path in parallel:
            progress.check()
            read = _read(path, columns, languages)
            found += read.pairs
            left_out.update(read.left_out)
            _check_count(len(found), folder)
        return _examples(PairsRead(found, dict(left_out)), printable(folder), None, progress)
    endings = _endings(columns, languages)
    names = sorted(os.listdir(folder))
    stems = paired_stems(names, *endings) if endings else []
    if not stems:
        expected = f"x.{endings[0]} and x.{endings[1]}" if endings else "x.en and x.de"
        raise DataError(
            f"{printable(folder)} has no parallel text: expected files {', '.join(f'*{e}' for e in _KNOWN)}, "
            f'or pairs {expected} (found: {listed(names)}). Fix: columns: {{ input: "en", target: "de" }} '
            "names the extensions",
            escaped(folder),
        )
    examples: list[Example] = []
    for stem in stems:
        read = read_paired(folder, stem, *endings)
        part = PART_NAMES.get(stem.lower()) if len(stems) > 1 else None
        examples += _examples(read, printable(folder), part, progress)
        _check_count(len(examples), folder)
    return examples


def _read(path: str, columns: Columns, languages: Languages) -> PairsRead:
    ending = os.path.splitext(path)[1].lower()
    if ending in _CATALOGUES:
        return _CATALOGUES[ending](path)
    return read_tmx(path, *(_endings(columns, languages) or (None, None)))


def _endings(columns: Columns, languages: Languages) -> tuple[str, str] | tuple[()]:
    """The languages in the names of files: the columns of the recipe, or its languages."""
    source = columns.input if isinstance(columns.input, str) else languages.source
    target = columns.target if columns.target != Columns().target else languages.target
    return (source, target) if source and isinstance(target, str) else ()


def _examples(read: PairsRead, where: str, part: Part | None, progress: Progress) -> list[Example]:
    if read.left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(read.left_out.items()))
        progress.warning(f"{where}: left out entries without a translation ({counts})")
    return [Example(source, target, part, name) for source, target, name in read.pairs]


def _check_count(count: int, folder: str) -> None:
    if problem := excess("max_rows", count, f"its {count} pairs"):
        raise DataError(f"{printable(folder)}: {problem}")
