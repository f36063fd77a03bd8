"""Errors about unusable inputs: opening files, and consistent messages."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from transfer_core.data.formats import has_image_extension
from transfer_core.runtime.bad_input_report import listed_in_full
from transfer_core.runtime.errors import DataError, shortened

# Characters of one value, name or path that a message quotes.
LONGEST_VALUE = 400

_WAY_OUT = "(fix or remove it, or use on_bad_input: :skip)"
_WAY_OUT_OF_MANY = "(fix or remove them, or use on_bad_input: :skip)"


class BadInput(DataError):
    """One input that can't be used; there may be more."""


class Unreadable(Exception):
    """The reason that an input can't be used; the caller adds the name of the input in a `DataError`."""


def bad_input(name: str, reason: str, path: str | None = None) -> BadInput:
    """Build the error for one input with the display name `name`."""
    return BadInput(f"{printable(name)}: {reason} {_WAY_OUT}", escaped(path) if path else None)


def bad_inputs(reasons: Mapping[str, str], many: str, paths: Sequence[str] = ()) -> BadInput:
    """Build one error for all unusable inputs.

    Parameters
    ----------
    reasons
        Display name to reason.
    many
        The plural of the kind of input.
    paths
        Paths of those that are image files.
    """
    if len(reasons) == 1:
        ((name, reason),) = reasons.items()
        return bad_input(name, reason, *paths)
    found = listed_in_full([f"{printable(name)}: {reason}" for name, reason in reasons.items()])
    message = f"{len(reasons)} {many} can't be used: {found} {_WAY_OUT_OF_MANY}"
    return BadInput(message, escaped(paths[0]) if paths else None)


def reason_in(message: str, path: str) -> str:
    """Extract the reason from the message of a `bad_input` error for `path`.

    >>> reason_in(str(bad_input("a.jpg", "the file is empty")), "a.jpg")
    'the file is empty'
    """
    return message.removeprefix(f"{printable(path)}: ").removesuffix(f" {_WAY_OUT}")


def without_skip_hint(error: DataError) -> DataError:
    """Remove the hint at `on_bad_input: :skip` where a single input was given."""
    return DataError(str(error).removesuffix(f" {_WAY_OUT}"), error.path)


def printable(text: str) -> str:
    r"""Escape and shorten `text` for a message: one line of valid UTF-8.

    >>> printable("caf\udce9\n.jpg")
    'caf\\udce9\\n.jpg'
    """
    return escaped(shortened(text, LONGEST_VALUE))


def escaped(text: str) -> str:
    """Escape unprintable characters and surrogates; one line of valid UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(names: Sequence[str]) -> str:
    """Quote and join names, `"cat", "dog"`; the first 10 and a count of the rest."""
    shown = ", ".join(f'"{printable(name)}"' for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def counted(count: int, one: str = "image", many: str = "images") -> str:
    """Format a count with its noun: `1 image`, `2 images`."""
    return f"1 {one}" if count == 1 else f"{count} {many}"


def named_reason(input: Any, message: str) -> str:
    """Format `a.jpg: the file is empty` from an input and the reason or its `bad_input` error message.

    Messages about rows of a table already contain the row.
    """
    if isinstance(input, str):
        return f"{printable(input)}: {reason_in(message, input)}"
    return message.removesuffix(f" {_WAY_OUT}")


def left_out(bad: Mapping[Any, str]) -> str:
    """The warning about skipped inputs; `bad` maps each to its message."""
    found = listed_in_full([named_reason(input, message) for input, message in bad.items()])
    if any(isinstance(input, str) for input in bad):
        return f"left out {counted(len(bad))} that can't be decoded: {found}"
    return f"left out {counted(len(bad), 'row', 'rows')} that can't be read: {found}"


def open_input(path: str) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    Unreadable
        The file is missing, a folder or not readable, or its name is not valid UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Unreadable("its name is not valid UTF-8, rename it") from None
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        looks_like_one = has_image_extension(path) or not any(map(str.isspace, path))
        expected = "" if looks_like_one else " (expected a path, an IO or the bytes of an image)"
        raise Unreadable(f"no such file{expected}") from None
    except PermissionError:
        raise Unreadable("it can't be read, permission denied") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"it can't be opened, {explain(error)}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise Unreadable("it is a folder, not an image" if stat.S_ISDIR(mode) else "it is not a regular file")


def explain(error: Exception) -> str:
    """The system's message in lower case: `input/output error`."""
    return (getattr(error, "strerror", None) or str(error)).lower()
