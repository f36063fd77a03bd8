"""Temporary directory for the images of one call, with removal of directories of killed processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A distinctive prefix, because directories with it may be removed.
_PREFIX = "transfer-spool-"
_LOCK = ".transfer-spool.lock"


@contextmanager
def spool_folder() -> Iterator[Path]:
    """Create a private temporary directory that is removed when the block ends.

    The kernel releases the lock of a killed process, which marks its directory as abandoned.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Renamed once locked, so that no process finds the lock file unlocked.
        unlocked = folder / "unlocked"
        with open(unlocked, "xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(folder / _LOCK)
            yield folder


def is_spooled(path: str) -> bool:
    """Whether a file is in such a directory and disappears after the call."""
    return path.startswith(os.path.join(tempfile.gettempdir(), _PREFIX))


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use, or just removed by another process
            if not _is_own_and_private(folder.lstat()):
                continue
            with open(folder / _LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _is_own_and_private(status: os.stat_result) -> bool:
    private = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o777 == 0o700
    return private and status.st_uid == os.geteuid()
