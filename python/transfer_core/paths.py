"""Where things are kept on this machine. One folder, `TRANSFER_HOME`, holds all of it."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`TRANSFER_HOME`, or `transfer` in the user's data folder (XDG)."""
    if chosen := os.environ.get("TRANSFER_HOME"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "transfer"


def runs() -> Path:
    """A folder per training, which holds the trained model."""
    return home() / "runs"


def cache() -> Path:
    """What can be deleted at any time and computed again."""
    return home() / "cache"


def offline() -> bool:
    """True if `TRANSFER_OFFLINE` forbids downloads."""
    return os.environ.get("TRANSFER_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")
