"""The parameters of a request against the signature of the function that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from transfer_core.runtime.errors import did_you_mean


class BadCall(Exception):
    """The caller asked for a method or a parameter that does not exist."""


def bind(name: str, run: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` converted to what `run` declares after its first parameter, which is the call.

    Raises
    ------
    BadCall
        Naming everything that is missing, unknown or of another type.
    """
    declared = _declared(run)
    if not params and not declared:
        return {}
    wrong = [f"missing {word}" for word, optional in declared.items() if not optional and word not in params]
    wrong += [
        f'unknown "{word}"{did_you_mean(word, list(declared))}' for word in params if word not in declared
    ]
    if wrong:
        raise BadCall(f"{name}: {'; '.join(wrong)} (it takes: {', '.join(declared) or 'nothing'})")
    return _convert(name, run, params)


@cache
def _declared(run: Callable[..., Any]) -> dict[str, bool]:
    """Parameter names, and whether each may be left out."""
    _, *parameters = inspect.signature(run).parameters.values()
    return {parameter.name: parameter.default is not parameter.empty for parameter in parameters}


@cache
def _types(run: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(run)


def _convert(name: str, run: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    import msgspec

    types = _types(run)
    converted = {}
    for word, value in params.items():
        if isinstance(value, str) and "\0" in value:  # names and paths, of which none can have one
            raise BadCall(f"{name}: {word}: text with a NUL byte (got {value!r:.100})")
        try:
            converted[word] = msgspec.convert(value, types[word])
        except msgspec.ValidationError as error:
            raise BadCall(f"{name}: {word}: {error}") from None
    return converted
