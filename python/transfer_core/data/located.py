"""An input where it was found."""

from __future__ import annotations

from typing import Any, NamedTuple


class Located(NamedTuple):
    """An input, what messages call it, and the names of its columns if it has any."""

    input: Any
    name: str
    columns: tuple[str, ...] = ()
