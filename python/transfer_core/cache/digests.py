"""Digests of files that were read before, so that an unchanged file is not read again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from transfer_core.cache.database import AT_ONCE, Unusable, database
from transfer_core.runtime import paths

# As in git: a file that changed just before it was read could change again within one tick of the file
# system's clock (2 s on FAT) and keep its times.
SETTLED_AFTER_NS = 2 * 10**9
# About 250 bytes each; the oldest make room.
MOST = 1_000_000

_SCHEMA = (
    "CREATE TABLE files (path TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, digest TEXT NOT NULL,"
    " checksum INTEGER NOT NULL)",
)


class Seen(NamedTuple):
    """A file as it was when it had this digest (sha256, hex); `stamp` as `stamp_of` makes it."""

    path: str
    stamp: str
    digest: str


def stamp_of(status: os.stat_result) -> str:
    """Size, times and inode, which change with the file. Programs can set back an mtime, but not a ctime."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def is_settled(status: os.stat_result) -> bool:
    """Whether any later change will alter the stamp: a change sets both times to the present.

    So an mtime in the future, from a camera's wrong clock or another time zone, is as good as an old one. The
    ctime alone is not enough: some file systems report the mtime for it, or a constant.
    """
    now = time.time_ns()
    return min(now - status.st_ctime_ns, abs(now - status.st_mtime_ns)) > SETTLED_AFTER_NS


def known_digests(files: Sequence[str]) -> dict[str, Seen]:
    """Stored digests by path, of those files that are unchanged."""
    known: dict[str, Seen] = {}
    place = _place()
    # Not `Path.exists`: before Python 3.12 it raises where the folder may not be entered.
    if not os.path.exists(place):
        return known
    with suppress(Unusable), database(place, _SCHEMA) as db:
        for start in range(0, len(files), AT_ONCE):
            some = files[start : start + AT_ONCE]
            named = {absolute: path for path in some if (absolute := _storable(path)) is not None}
            marks = ",".join("?" * len(named))
            rows = db.execute(f"SELECT * FROM files WHERE path IN ({marks})", tuple(named))
            for path, stamp, digest, checksum in rows:
                if checksum == _checksum(path, stamp, digest) and stamp == _stamp_now(path):
                    known[named[path]] = Seen(named[path], stamp, digest)
    return known


def remember(seen: Iterable[Seen]) -> None:
    """Store these digests in one transaction, those of paths that can be stored."""
    rows = [
        (absolute, stamp, digest, _checksum(absolute, stamp, digest))
        for path, stamp, digest in seen
        if (absolute := _storable(path)) is not None
    ]
    if not rows:
        return
    with suppress(Unusable), database(_place(), _SCHEMA) as db, db:
        db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        db.execute("DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?", (MOST,))


def _place() -> Path:
    return paths.cache() / "digests.sqlite"


def _storable(path: str) -> str | None:
    """The absolute path; None if it, or the name of the working directory, is not valid text."""
    absolute = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return None
    return absolute


def _stamp_now(path: str) -> str | None:
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):
        return None


def _checksum(path: str, stamp: str, digest: str) -> int:
    """SQLite detects most damage, but not a changed byte within a row."""
    return crc32(f"{path}\n{stamp}\n{digest}".encode())
