"""Read compiled gettext catalogues (`.mo`): https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html."""

from __future__ import annotations

import re
import struct

from transfer_core.data.bad_input import printable
from transfer_core.data.pairs import PairsRead, TextPair
from transfer_core.data.po_catalogue import form_pairs
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

_MAGIC = 0x950412DE
_CHARSET = re.compile(rb"charset=([\w.-]+)")


def read_mo(path: str) -> PairsRead:
    """Read the entries of a compiled catalogue.

    Raises
    ------
    DataError
        If it is damaged, or in an unknown encoding.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return _read(content, path)
    except (struct.error, UnicodeDecodeError, LookupError, ValueError) as error:
        reason = "it is cut short" if isinstance(error, struct.error) else error
        raise DataError(
            f"{printable(path)} is not a compiled gettext catalogue: {reason}. "
            "Fix: compile it again (msgfmt), or name the .po file",
            path,
        ) from None


def _read(content: bytes, path: str) -> PairsRead:
    order = next((o for o in "<>" if struct.unpack_from(f"{o}I", content)[0] == _MAGIC), "")
    if not order:
        raise ValueError("it begins with other bytes")
    _, count, sources, targets = struct.unpack_from(f"{order}4I", content, 4)
    if problem := excess("max_rows", count, f"its {count} entries"):
        raise DataError(f"{printable(path)}: {problem}", path)
    if max(sources, targets) + 8 * count > len(content):
        raise ValueError("it is cut short")
    encoding = "utf-8"
    pairs: list[TextPair] = []
    untranslated = 0
    for number in range(count):
        source, target = (
            _string(content, *struct.unpack_from(f"{order}2I", content, table + 8 * number))
            for table in (sources, targets)
        )
        if not source:  # the header
            named = _CHARSET.search(target)
            encoding = named[1].decode() if named else encoding
            continue
        _, _, key = source.rpartition(b"\x04")  # without the context
        text, *plural = key.decode(encoding).split("\0")
        forms = target.decode(encoding).split("\0")
        name = f"{printable(path)} entry {number + 1}"
        found = [*form_pairs(text, plural[0] if plural else None, forms, name)]
        untranslated += not found
        pairs += found
    return PairsRead(pairs, {"untranslated": untranslated} if untranslated else {})


def _string(content: bytes, length: int, start: int) -> bytes:
    if start + length > len(content):
        raise ValueError("a string ends after the file")
    return content[start : start + length]
