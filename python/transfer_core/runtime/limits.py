"""Limits on inputs, each with a setting and a default, against inputs that exhaust time or memory."""

from __future__ import annotations

import os
import re

from transfer_core.runtime.errors import ConfigurationError

# docs/guides/operate.md, "Limits on inputs", gives the reason for each.
DEFAULTS = {
    "max_image_bytes": 128 * 10**6,
    "max_pixels": 8192 * 8192,
    "max_text_length": 10**6,
    "max_line_length": 16 * 10**6,
    "max_rows": 2 * 10**6,
    "max_columns": 16_384,
    "max_cells": 50 * 10**6,
    "max_labels": 1000,
    "max_data_bytes": 2 * 10**9,
}

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def limit(name: str) -> int:
    """Read the limit `name` from its environment variable (`TRANSFER_MAX_PIXELS`), or the default.

    Raises
    ------
    ConfigurationError
        If the variable is not a whole number above 0 or, for a limit in bytes, a size such as `2GB`.
    """
    variable = f"TRANSFER_{name.upper()}"
    text = os.environ.get(variable, "").strip()
    if not text:
        return DEFAULTS[name]
    in_bytes = name.endswith("_bytes")
    number = size(text) if in_bytes else int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
    if not number:
        takes = "a size such as 500MB" if in_bytes else "a whole number above 0"
        raise ConfigurationError(f'{variable} is {takes}, got "{text:.100}"')
    return number


def excess(name: str, found: int, described: str) -> str | None:
    """An error message if `found` is above the limit `name`, else None.

    >>> excess("max_pixels", 30_000 * 30_000, "30000 x 30000 pixels")
    '30000 x 30000 pixels are more than max_pixels = 67108864. Fix: raise Transfer.config.max_pixels \
(TRANSFER_MAX_PIXELS), or use a smaller input'
    """
    allowed = limit(name)
    return None if found <= allowed else f"{described} are more than {name} = {allowed}. {raise_limit(name)}"


def raise_limit(name: str) -> str:
    """The remedy that names the setting."""
    return f"Fix: raise Transfer.config.{name} (TRANSFER_{name.upper()}), or use a smaller input"


def size(text: str) -> int | None:
    """Parse a size, `2GB`, `500 MiB` or `1000`, to bytes; None if `text` is invalid.

    >>> size("500 MiB")
    524288000
    """
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([KMGT]I?)?B?", text.upper())
    if not found:
        return None
    number, unit = found.groups(default="")
    return int(float(number) * {**_UNITS, **_BINARY_UNITS}[unit])
