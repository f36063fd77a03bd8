"""Strict JSON for untrusted files: bounded size, no duplicate names, errors that name field and value."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from transfer_core.recipe.messages import shown

T = TypeVar("T")

# Lists and objects; a parser takes up to 250 bytes for each.
MOST_CONTAINERS = 500_000

# Candidates for integers beyond 64 bits; only then is each integer parsed in Python, which is slow.
_LONG_INTEGER = re.compile(rb"[\[:,]\s*-?\d{19}")

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<number>\d+)\]")


def decode(text: bytes, expected: type[T]) -> T:
    """Decode UTF-8 JSON into the type `expected`; raises as `check` and `typed` do."""
    check(text)
    return typed(text, expected)


def check(text: bytes) -> None:
    """Check that a text is JSON in which no object has a name twice, and no integer more than 64 bits.

    Raises
    ------
    ValueError
        It is not, or it has too many lists and objects.
    """
    containers = text.count(b"[") + text.count(b"{")
    if containers > MOST_CONTAINERS:
        raise ValueError(f"it has {containers:,} lists and objects, expected at most {MOST_CONTAINERS:,}")
    try:
        parse_integer = _integer if _LONG_INTEGER.search(text) else None
        json.loads(text.decode(), object_pairs_hook=_distinct, parse_int=parse_integer)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None


def typed(text: bytes | msgspec.Raw, expected: type[T]) -> T:
    """Decode a text that `check` let pass.

    Raises
    ------
    ValueError
        Its values do not have this type; with the field, the expected type and the value.
    """
    try:
        return msgspec.json.decode(text, type=expected)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(error, json.loads(bytes(text)), "")) from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None


def convert(value: Any, expected: type[T], field: str) -> T:
    """Convert decoded JSON into the type `expected`; errors name it `field`.

    Raises
    ------
    ValueError
        With the field, the expected type and the value.
    """
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(error, value, field)) from None
    except RecursionError:
        raise ValueError(f"{field}: its lists and objects are nested too deeply") from None


def _integer(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"it has the integer {shown(number)}, which has more than 64 bits")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) == len(pairs):
        return
    names = [name for name, _ in pairs]
    twice = next(name for place, name in enumerate(names) if name in names[:place])
    raise ValueError(f"it has the name {shown(twice)} twice")


def _explained(error: msgspec.ValidationError, value: Any, field: str) -> str:
    """`temperature: expected `float` >= 0.001 (got 1e-320)`."""
    matched = _WHERE.match(str(error))
    assert matched
    what, path = matched["what"], matched["path"] or ""
    for step in _STEP.finditer(path):
        try:
            value = value[step["name"]] if step["name"] else value[int(step["number"])]
        except (LookupError, TypeError):  # a missing field, a value of an object
            break
    where = f"{field}{path}".removeprefix(".")
    what = what[:1].lower() + what[1:]
    return f"{where}: {what} (got {shown(value)})" if where else f"{what}"
