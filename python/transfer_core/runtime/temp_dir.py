"""A folder for the images of one call. What a process that was killed left behind, the next call removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Names that nobody else gives to what is theirs: such a folder may be removed.
_PREFIX = "transfer-spool-"
_LOCK = ".transfer-spool.lock"


@contextmanager
def spool_folder() -> Iterator[Path]:
    """A new folder in the system's temporary one, private, gone when the block ends.

    A process that is killed can't tidy up, but the kernel lets go of its lock: that is how the folder is
    known to be abandoned.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Renamed when it is locked: nobody ever finds it free.
        unlocked = folder / "unlocked"
        with open(unlocked, "xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(folder / _LOCK)
            yield folder


def is_spooled(path: str) -> bool:
    """Whether a file lies in such a folder: it will never be seen again after the call."""
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
