"""Atomic file replacement: a file appears whole or not at all, and no symbolic link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from transfer_core.runtime.errors import ConfigurationError

# The names of unfinished files: a process that is killed leaves them.
UNFINISHED = ".transfer-*.tmp"
_WHILE_WRITING = 0o600


@contextmanager
def replacing(path: str | os.PathLike[str], mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary file beside `path` that replaces it when the block ends without an exception.

    A symbolic link at `path` is replaced, its target is not touched.

    Parameters
    ----------
    mode
        Permissions of a new file, default: 0666 less the umask. A file of the same user keeps its
        permissions when it is replaced. Nobody else can read the file before it is in place.

    Raises
    ------
    ConfigurationError
        The file can't be written: no such folder, a device, no permission, the disk is full.
    """
    target = Path(path)
    temporary = target.parent / UNFINISHED.replace("*", token_hex(8))
    try:
        _check(target)
        own = _mode_of_own_file(target)
        mode = _create(temporary, mode if own is None else own)
        yield temporary
        _finish(temporary, mode)
        os.replace(temporary, target)
    except OSError as error:
        raise ConfigurationError(f"can't save to {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    # The file is in place: a folder that can't be flushed is no failure.
    with suppress(OSError):
        _flush(target.parent)


def unfollowed(path: str, flags: int) -> int:
    """Open a temporary file of `replacing`, as `opener` of `open`: fails where somebody put a link there."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _check(target: Path) -> None:
    if target.is_dir():
        raise ConfigurationError(f"can't save to {target}: it is a folder; add the name of a file")
    # Links in /dev lead to what the process has open.
    is_device = target.is_symlink() and os.path.realpath(target.parent) == "/dev"
    if is_device or (target.exists() and not target.is_file()):
        raise ConfigurationError(f"can't save to {target}: it is not a regular file")
    if not target.parent.is_dir():
        raise ConfigurationError(f"can't save to {target}: there is no folder {target.parent}; make it first")


def _mode_of_own_file(target: Path) -> int | None:
    with suppress(FileNotFoundError):
        status = target.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            return stat.S_IMODE(status.st_mode)
    return None


def _create(temporary: Path, mode: int | None) -> int:
    """Create the file; returns `mode`, or the one that the umask gives."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666 if mode is None else _WHILE_WRITING)
    try:
        usual = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, _WHILE_WRITING)
    finally:
        os.close(descriptor)
    return usual if mode is None else mode


def _finish(temporary: Path, mode: int) -> None:
    """Set the permissions and flush to disk. The block may have made the file anew."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(target: Path, text: str, mode: int | None) -> None:
    """Replace a text file; raises `ConfigurationError` if it can't be written."""
    with (
        replacing(target, mode) as temporary,
        open(temporary, "w", encoding="utf-8", errors="replace", opener=unfollowed) as file,
    ):
        file.write(text)
