"""Paths of persistent files, all in one directory, `TRANSFER_HOME`."""

from __future__ import annotations

import os
from pathlib import Path

from transfer_core.runtime.errors import ConfigurationError


def home() -> Path:
    """`TRANSFER_HOME`, or `transfer` in the user's data folder (XDG)."""
    if chosen := os.environ.get("TRANSFER_HOME"):
        return _expanded(chosen)
    return _expanded(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "transfer"


def runs() -> Path:
    """The directory of runs: one directory per training, with its model."""
    return home() / "runs"


def cache() -> Path:
    """The cache directory, safe to delete at any time."""
    return home() / "cache"


def offline() -> bool:
    """Whether `TRANSFER_OFFLINE` forbids downloads."""
    return os.environ.get("TRANSFER_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def _expanded(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"can't tell whose home folder {folder} means: set TRANSFER_HOME to the full path of a folder"
        ) from None
