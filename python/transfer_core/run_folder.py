"""A folder per training, so that what was trained is on disk before anybody is told about it."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path

from transfer_core.errors import ConfigurationError
from transfer_core.paths import runs


def new_run_folder() -> Path:
    """A new empty folder in `TRANSFER_HOME`/runs, named by the time.

    Raises
    ------
    ConfigurationError
        If it can't be made.
    """
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = runs() / f"{now}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror
        raise ConfigurationError(
            f"can't make a folder for this training in {runs()}: {reason}; set TRANSFER_HOME to a folder "
            "that can be written"
        ) from error
    return folder
