"""Marks on the run folder of a model: when it was last used, and that the model was saved elsewhere."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path

from transfer_core.runtime import paths
from transfer_core.runtime.permissions import FILE

SAVED = "saved"
# Name of the report beside the model of a run.
REPORT = "report.html"
# Each use of a model in memory is offered; one mark per hour is enough for a limit in days.
_INTERVAL_S = 3600.0
_marked: dict[Path, float] = {}


def mark_used(model: str | os.PathLike[str]) -> None:
    """Set the mtime of the run folder that holds the file `model` to now; nothing for other files."""
    folder = Path(model).parent
    now = time.monotonic()
    if folder.parent != paths.runs() or now < _marked.get(folder, -math.inf) + _INTERVAL_S:
        return
    _marked[folder] = now
    with suppress(OSError):
        os.utime(folder)


def mark_saved(model: str | os.PathLike[str]) -> None:
    """Note in the run folder that holds the file `model` that it exists elsewhere, too; nothing for other
    files."""
    folder = Path(model).parent
    if folder.parent == paths.runs():
        with suppress(OSError):
            os.close(os.open(folder / SAVED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE))
