"""A folder for the images of one call. What a process that was killed left behind, the next call removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "transfer-"
_LOCK = "lock"


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
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # somebody else's, in use, or just removed by another process
            if path.parent.is_symlink() or path.lstat().st_uid != os.geteuid():
                continue
            with open(path, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
