"""An input with its display name."""

from __future__ import annotations

from typing import Any, NamedTuple


class Located(NamedTuple):
    """An input, its display name, and the names of its columns if it has any."""

    input: Any
    name: str
    columns: tuple[str, ...] = ()
