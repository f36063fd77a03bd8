"""Size limit of the cache: `TRANSFER_CACHE_LIMIT`."""

from __future__ import annotations

import os
import sys

from transfer_core.errors import ConfigurationError
from transfer_core.limits import size

DEFAULT_BYTES = 10 * 10**9
VARIABLE = "TRANSFER_CACHE_LIMIT"


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
    found = size(text)
    if found is None:
        raise ConfigurationError(f'{VARIABLE} is a size such as 10GB or "none", got "{text}"')
    return found
