"""Parse durations (`30d`) and optional limits (`none`) from settings. For sizes: `limits.size`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar

from transfer_core.runtime.errors import ConfigurationError

T = TypeVar("T")

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(text: str) -> float | None:
    """Parse a duration, `12h`, `30d` or `60`, to seconds; None if `text` is invalid.

    >>> seconds("12h")
    43200.0
    """
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([smhdw]?)", text)
    return float(found[1]) * _SECONDS[found[2]] if found else None


def setting(variable: str, parse: Callable[[str], T | None], default: T, unlimited: T, example: str) -> T:
    """Read a limit from an environment variable.

    Parameters
    ----------
    variable
        The name of the variable.
    parse
        Converts its text; None if the text is invalid.
    default
        The value if it is not set.
    unlimited
        The value for `none`.
    example
        A description of valid values, for the message.

    Raises
    ------
    ConfigurationError
        The variable has another value.
    """
    text = os.environ.get(variable, "").strip()
    if not text or text.lower() == "none":
        return unlimited if text else default
    found = parse(text)
    if found is None:
        raise ConfigurationError(f'{variable} is {example} or "none", got "{text:.100}"')
    return found
