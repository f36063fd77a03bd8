"""Validation of request parameters against the signature of the method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from transfer_core.runtime.errors import did_you_mean


class BadCall(Exception):
    """Unknown method, or invalid parameters."""


def bind(name: str, run: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `params` to the types that `run` declares, apart from its first parameter, the call.

    Parameters
    ----------
    name
        Name of the method in errors.
    run
        Function of the method.
    params
        Parameters of the request.

    Returns
    -------
    dict
        Keyword arguments for `run`.

    Raises
    ------
    BadCall
        If parameters are missing, unknown or of another type; the message names all of them.
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
    """Parameter names, and whether each is optional."""
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
        if isinstance(value, str) and "\0" in value:  # all texts are names or paths
            raise BadCall(f"{name}: {word}: text with a NUL byte (got {value!r:.100})")
        try:
            converted[word] = msgspec.convert(value, types[word])
        except msgspec.ValidationError as error:
            raise BadCall(f"{name}: {word}: {error}") from None
    return converted
