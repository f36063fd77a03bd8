"""Conversion of an exception to the error map of the protocol."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from transfer_core.runtime import errors
from transfer_core.runtime.errors import DependencyError, TransferError, shortened
from transfer_core.runtime.memory_errors import is_out_of_memory, lack_of_memory, text_of

MOST_FRAMES = 50

_SERVER_FILE = str(Path(__file__).with_name("server.py"))

# Error classes that exist in Ruby under the same name.
SHARED = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, TransferError) and kind is not TransferError
}


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Convert an exception to the map `{type, message, details, python_class, …}` of the protocol."""
    if not isinstance(error, TransferError) or isinstance(error, DependencyError):
        error = lack_of_memory(error) or error
    name = _shared_name(error)
    described: dict[str, Any] = {
        "type": name,
        "message": _shorten(_message(error, name)),
        "details": _shorten(error.details) if isinstance(error, TransferError) else {},
        "python_class": _class_name(error),
    }
    if name == "RemoteError":
        described["python_backtrace"] = _backtrace(error)
    return described


def _shared_name(error: BaseException) -> str:
    if is_out_of_memory(error):
        return "OutOfMemory"
    return next((kind.__name__ for kind in type(error).__mro__ if kind in SHARED.values()), "RemoteError")


def _message(error: BaseException, name: str) -> str:
    text = text_of(error)
    if name == "OutOfMemory" and not isinstance(error, TransferError):
        first_line = text.partition("\n")[0]
        because = f" ({first_line})" if first_line else ""
        return f"out of memory{because}: use a smaller batch_size, or close other programs"
    return text or type(error).__name__


def _shorten(value: Any) -> Any:
    """Shorten every text in `value`."""
    match value:
        case str():
            return shortened(value)
        case list():
            return [_shorten(each) for each in value]
        case dict():
            return {key: _shorten(each) for key, each in value.items()}
    return value


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _backtrace(error: BaseException) -> list[str]:
    """Traceback in Ruby's notation (`file:line:in 'name'`), innermost last, without the server's frames."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != _SERVER_FILE]
    return [f"{frame.filename}:{frame.lineno}:in '{frame.name}'" for frame in theirs[-MOST_FRAMES:]]
