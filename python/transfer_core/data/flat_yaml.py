"""A parser for the part of YAML that data sets use: keys with texts, lists or maps of texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = str | list[str] | dict[str, str]

_QUOTES = ('"', "'")


def parse_yaml(text: str) -> dict[str, Value]:
    """Parse `key: text`, `key: [a, b]`, `key: {0: a}`, and lists and maps in indented lines.

    Raises
    ------
    ValueError
        A line has another form; the message has its number.

    Examples
    --------
    >>> parse_yaml("train: images/train  # the folder\\nnames:\\n  0: stop\\n  1: 'give way'\\n")
    {'train': 'images/train', 'names': {'0': 'stop', '1': 'give way'}}
    >>> parse_yaml("names: [stop, give way]")
    {'names': ['stop', 'give way']}
    """
    found: dict[str, Value] = {}
    key = ""
    for number, indented, line in _joined(text):
        is_item = line.startswith("- ") or line == "-"
        if is_item or indented:
            if key:
                _add(found, key, line, is_item, number)
            continue
        key, value = _pair(line, number)
        found[key] = _value(value, number)
        if value:
            key = ""  # what is indented below belongs to a form that data sets do not use
    return found


def _joined(text: str) -> Iterator[tuple[int, bool, str]]:
    """Lines with number and whether they are indented, without comments; brackets may span lines."""
    open_line: tuple[int, bool, str] | None = None
    in_block = False
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if in_block and raw[:1] in (" ", "\t", ""):
            continue
        line = _without_comment(raw)
        in_block = line.endswith((": |", ": >"))  # a text of several lines, such as a script
        if not line.strip() or line.strip() in ("---", "..."):
            continue
        if open_line:
            first, indented, begun = open_line
            open_line = first, indented, f"{begun} {line.strip()}"
        else:
            open_line = number, line[0] in " \t", line.strip()
        begun = open_line[2]
        if begun.count("[") + begun.count("{") > begun.count("]") + begun.count("}"):
            continue
        yield open_line
        open_line = None
    if open_line:
        raise ValueError(f"line {open_line[0]}: a bracket is not closed")


def _without_comment(line: str) -> str:
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character == "#" and (place == 0 or line[place - 1] in " \t"):
            return line[:place].rstrip()
    return line.rstrip()


def _pair(line: str, number: int) -> tuple[str, str]:
    for place, character in enumerate(line):
        if character == ":" and (place + 1 == len(line) or line[place + 1] in " \t"):
            return _text(line[:place]), line[place + 1 :].strip()
    raise ValueError(f"line {number}: expected key: value, got {line[:80]}")


def _add(found: dict[str, Value], key: str, line: str, is_item: bool, number: int) -> None:
    """Add an indented line to the list or map of `key`, which begins with an empty text."""
    value = found[key] or ([] if is_item else {})
    if isinstance(value, list) and is_item:
        value.append(_text(line[1:]))
    elif isinstance(value, dict) and not is_item:
        name, text = _pair(line, number)
        value[name] = _text(text)
    else:
        raise ValueError(f"line {number}: a list and a map under {key}")
    found[key] = value


def _value(text: str, number: int) -> Value:
    if text[:1] == "[" and text[-1:] == "]":
        return [_text(part) for part in _split(text[1:-1])]
    if text[:1] == "{" and text[-1:] == "}":
        return {key: _text(value) for key, value in (_pair(part, number) for part in _split(text[1:-1]))}
    return _text(text)


def _split(text: str) -> Iterator[str]:
    """Parts between commas outside quotes, without empty ones."""
    part, quote = "", ""
    for character in text:
        if character == "," and not quote:
            if part.strip():
                yield part.strip()
            part = ""
            continue
        if character in _QUOTES and (not quote or quote == character) and (quote or not part.strip()):
            quote = "" if quote else character
        part += character
    if part.strip():
        yield part.strip()


def _text(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1].replace('\\"', '"')
    return text
