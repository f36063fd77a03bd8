"""The size limit of the cache: `TRANSFER_CACHE_LIMIT`."""

from __future__ import annotations

import sys

from transfer_core.runtime import amounts
from transfer_core.runtime.limits import size

DEFAULT_BYTES = 10 * 10**9
VARIABLE = "TRANSFER_CACHE_LIMIT"


def cache_limit() -> int:
    """Bytes: the value of `TRANSFER_CACHE_LIMIT` (`2GB`, `500 MiB`, `none`), or 10 GB.

    Raises
    ------
    ConfigurationError
        It has another value.
    """
    return amounts.setting(VARIABLE, size, DEFAULT_BYTES, sys.maxsize, "a size such as 10GB")
