"""Read gettext catalogues as text (`.po`): https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from transfer_core.data.bad_input import printable
from transfer_core.data.lines import Lines
from transfer_core.data.pairs import PairsRead, TextPair
from transfer_core.runtime.errors import DataError

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*$')
_KEYWORD = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d{1,3})\])?)\s+(?=\")")
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass
class _Entry:
    """One entry: texts by keyword, `msgstr` by number."""

    line: int
    fuzzy: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    forms: dict[int, str] = field(default_factory=dict)


def read_po(path: str) -> PairsRead:
    """Read the translated entries of a catalogue; fuzzy, obsolete and untranslated ones are left out.

    Raises
    ------
    DataError
        If it is not UTF-8, or not a catalogue; the message has the line.
    """
    pairs: list[TextPair] = []
    left_out: dict[str, int] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            for entry in _entries(Lines(file, path), path):
                source, plural = entry.texts.get("msgid", ""), entry.texts.get("msgid_plural")
                if not source:  # the header
                    continue
                if entry.fuzzy:
                    left_out["fuzzy"] = left_out.get("fuzzy", 0) + 1
                    continue
                name = f"{printable(path)} line {entry.line}"
                found = [*form_pairs(source, plural, [text for _, text in sorted(entry.forms.items())], name)]
                if not found:
                    left_out["untranslated"] = left_out.get("untranslated", 0) + 1
                pairs += found
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)} is not UTF-8 text. Fix: msgconv --to-code=UTF-8", path) from error
    return PairsRead(pairs, left_out)


def form_pairs(source: str, plural: str | None, forms: list[str], name: str) -> Iterator[TextPair]:
    """The pairs of an entry: singular with the first form, plural with the last one.

    A language with one form has it for all numbers, so that it belongs to the plural.
    """
    if plural is None:
        if forms and forms[0].strip():
            yield TextPair(source, forms[0], name)
        return
    if len(forms) > 1 and forms[0].strip():
        yield TextPair(source, forms[0], name)
    if forms and forms[-1].strip():
        yield TextPair(plural, forms[-1], f"{name} (plural)")


def _entries(lines: Lines, path: str) -> Iterator[_Entry]:
    entry, keyword, form, fuzzy = _Entry(1), "", 0, False
    for line in lines:
        lines.length = 0
        text = line.strip()
        if text.startswith("#"):
            fuzzy = fuzzy or (text.startswith("#,") and "fuzzy" in text)
            continue
        if not text:
            continue
        if match := _KEYWORD.match(text):
            keyword = match[1]
            begins = keyword == "msgctxt" or (keyword == "msgid" and "msgid" in entry.texts)
            if begins and (entry.texts or entry.forms):
                yield entry
                entry, fuzzy = _Entry(lines.number, fuzzy), False
            elif not entry.texts:
                entry = _Entry(lines.number, fuzzy)
                fuzzy = False
            form = int(match[2] or 0)
            text = text[match.end() :]
        string = _STRING.match(text)
        if string is None or not keyword:
            raise DataError(
                f"{printable(path)} line {lines.number}: expected msgid, msgstr or a string in quotes "
                f"(got {printable(text[:60])})",
                path,
            )
        part = _ESCAPED.sub(_unescaped, string[1])
        if keyword.startswith("msgstr"):
            entry.forms[form] = entry.forms.get(form, "") + part
        else:
            entry.texts[keyword] = entry.texts.get(keyword, "") + part
    if entry.texts:
        yield entry


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code.isdigit():
        return chr(int(code, 8))
    return _ESCAPES.get(code, code)
