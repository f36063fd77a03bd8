"""Read translation memories (TMX 1.4): https://www.gala-global.org/tmx-14b.

The XML is parsed without external entities and without a document type of its own, so that a file can neither
open another nor expand to more than its size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.pairs import PairsRead, TextPair
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess, limit

_CHUNK = 1 << 16
# Inline elements whose content is code of the document format, not text.
_CODE = {"bpt", "ept", "it", "ph", "ut"}


@dataclass
class _Reader:
    """Handlers of the parser: texts by language of each unit."""

    path: str
    units: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    source_language: str = ""
    _unit: dict[str, str] = field(default_factory=dict)
    _line: int = 0
    _language: str = ""
    _text: list[str] | None = None
    _length: int = 0
    _code: int = 0

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        """Open an element."""
        name = name.lower()
        if name == "header":
            self.source_language = attributes.get("srclang", "")
        elif name == "tu":
            self._unit, self._line = {}, line
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
        elif name == "seg":
            self._text, self._length = [], 0
        elif name in _CODE:
            self._code += 1

    def end(self, name: str) -> None:
        """Close an element."""
        name = name.lower()
        if name in _CODE:
            self._code -= 1
        elif name == "seg" and self._text is not None:
            self._unit[self._language] = "".join(self._text)
            self._text = None
        elif name == "tu":
            self.units.append((self._line, self._unit))
            if len(self.units) > limit("max_rows"):
                problem = excess("max_rows", len(self.units), f"its {len(self.units)} units")
                raise DataError(f"{printable(self.path)}: {problem}", self.path)

    def text(self, data: str) -> None:
        """Append characters."""
        if self._text is None or self._code:
            return
        self._length += len(data)
        if problem := excess("max_text_length", self._length, f"the {self._length} characters of a segment"):
            raise DataError(f"{printable(self.path)} line {self._line}: {problem}", self.path)
        self._text.append(data)


def read_tmx(path: str, source: str | None, target: str | None) -> PairsRead:
    """Read the units of a translation memory that have both languages.

    Parameters
    ----------
    path
        The file.
    source, target
        Codes of the languages; `en` matches `en-US`, too. None: those of the file, if there are two.

    Raises
    ------
    DataError
        If it is not valid XML, declares entities, or has other languages.
    """
    reader = _Reader(path)
    parser = _parser(reader)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DataError(f"{printable(path)} line {error.lineno}: not valid XML, {error}", path) from None
    found = dict.fromkeys(language for _, unit in reader.units for language in unit)
    one, other = _languages(reader, list(found), source, target)
    pairs, missing = [], 0
    for line, unit in reader.units:
        texts = [
            next((t for code, t in unit.items() if _matches(code, wanted)), "") for wanted in (one, other)
        ]
        if all(text.strip() for text in texts):
            pairs.append(TextPair(texts[0], texts[1], f"{printable(path)} line {line}"))
        else:
            missing += 1
    return PairsRead(pairs, {"untranslated": missing} if missing else {})


def _parser(reader: _Reader) -> Any:
    parser = expat.ParserCreate()

    def refuse(*_: Any) -> int:
        raise DataError(f"{printable(reader.path)} declares entities, which are not read", reader.path)

    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = lambda name, attributes: reader.start(
        name, attributes, parser.CurrentLineNumber
    )
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    return parser


def _languages(reader: _Reader, found: list[str], source: str | None, target: str | None) -> tuple[str, str]:
    path = reader.path
    for wanted in (source, target):
        if wanted and not any(_matches(code, wanted) for code in found):
            raise DataError(f'{printable(path)} has no language "{wanted}" (found: {listed(found)})', path)
    if source and target:
        return source, target
    if len(found) != 2:
        raise DataError(
            f"{printable(path)} has {len(found)} languages (found: {listed(found)}). "
            'Fix: columns: { input: "en", target: "de" }',
            path,
        )
    one = source or next((code for code in found if _matches(code, reader.source_language)), found[0])
    if target and not source:
        return next(code for code in found if not _matches(code, target)), target
    return one, next(code for code in found if not _matches(code, one))


def _matches(code: str, wanted: str) -> bool:
    """Whether a language code is the wanted one or a region of it: `en-US`, `en`."""
    code, wanted = code.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return code == wanted or code.startswith(f"{wanted}-")
