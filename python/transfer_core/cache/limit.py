"""How much the cache may hold: `TRANSFER_CACHE_LIMIT`."""

from __future__ import annotations

import os
import re
import sys

from transfer_core.errors import ConfigurationError

DEFAULT_BYTES = 10 * 10**9
VARIABLE = "TRANSFER_CACHE_LIMIT"

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def cache_limit() -> int:
    """Bytes: what `TRANSFER_CACHE_LIMIT` says (`2GB`, `500 MiB`, `none`), or 10 GB.

    Raises
    ------
    ConfigurationError
        It says something else.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    if text.lower() == "none":
        return sys.maxsize
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?", text.upper())
    if not found:
        raise ConfigurationError(f'{VARIABLE} is a size such as 10GB or "none", got "{text}"')
    number, unit = found.groups(default="")
    return int(float(number) * {**_UNITS, **_BINARY_UNITS}[unit])
