"""Ownership and permissions of kept files. As in sshd, only files that no other user could write are read
back."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.paths import home

DIRECTORY, FILE = 0o700, 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Exposure:
    """A path that another user owns or can write: `reason` completes a sentence, `fix` is a command."""

    path: Path
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}. Fix: {self.fix}"


def exposure(path: Path) -> Exposure | None:
    """Find the first place through which another user could have written to `path`.

    Each of `path` and the directories between `TRANSFER_HOME` and it must belong to the user of this
    process or to root, and be writable by its owner alone; symbolic links on the way must belong to one of
    them.

    Returns
    -------
    None if there is no such place, or if nothing can be reached at `path`.
    """
    return next(filter(None, map(exposure_of_entry, _down_to(path.absolute()))), None)


def exposure_of_entry(path: Path) -> Exposure | None:
    """The same for `path` alone, without the directories above it; of a link also its target."""
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode):
            return _exposure_of(path, status)
        target = Path(os.path.realpath(path))
        return _exposure_of(path, status) or _exposure_of(target, target.lstat())
    return None


def require_private(path: Path) -> None:
    """Raise `ConfigurationError` with the command that fixes it if another user could write to `path`."""
    if found := exposure(path):
        raise ConfigurationError(str(found))


def make_directory(path: Path) -> None:
    """Make a directory with mode 0700, and the missing ones above it; raises `OSError`."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(DIRECTORY, exist_ok=True)


def _down_to(path: Path) -> Iterator[Path]:
    top = home().absolute()
    top = top if top == path or top in path.parents else path
    yield from (parent for parent in reversed(top.parents) if os.path.islink(parent))
    yield from (parent for parent in reversed(path.parents) if parent == top or top in parent.parents)
    yield path


def _exposure_of(place: Path, status: os.stat_result) -> Exposure | None:
    user, is_link = os.geteuid(), stat.S_ISLNK(status.st_mode)
    quoted = shlex.quote(str(place))
    if status.st_uid not in (user, 0):
        reason = f"{'is a link that ' if is_link else ''}belongs to user {status.st_uid}, not to user {user}"
        return Exposure(place, reason, f"rm {quoted}" if is_link else f"chown -R {user} {quoted}")
    if not is_link and status.st_mode & _WRITABLE_BY_OTHERS:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        return Exposure(place, f"can be written by other users (mode {mode})", f"chmod -R go-w {quoted}")
    return None
