"""A folder per training, so that what was trained is on disk before anybody is told about it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from transfer_core.errors import ConfigurationError
from transfer_core.paths import runs


@contextmanager
def new_run_folder() -> Iterator[Path]:
    """A new empty folder in `TRANSFER_HOME`/runs, named by the time; gone again if the block leaves it empty.

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
    try:
        yield folder
    finally:
        # A folder with something in it can't be removed.
        with suppress(OSError):
            folder.rmdir()
