"""What the cache holds, whether it is whole, and how it stays small. All of it works on files alone.

The parts of the cache are named here, and nothing else under `TRANSFER_HOME`/cache is touched. The files of a
part that is a folder may vanish at any time. A file's mtime is when it was last used: its readers set it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from transfer_core.cache.database import discard, is_whole
from transfer_core.cache.layout import SUFFIX, layout_of
from transfer_core.cache.limit import cache_limit
from transfer_core.cache.rows import salvage
from transfer_core.runtime import paths
from transfer_core.runtime.permissions import exposure, require_private

# What lies in the cache folder under this name, or this name and an ending.
PARTS = {
    "features": "embeddings of images",
    "near_duplicates": "thumbnails of images",
    "digests": "digests of image files",
    "measurements": "what was measured on this machine",
}
_DATABASE = ".sqlite"


class Kept(NamedTuple):
    """A file of the cache."""

    part: str
    path: Path
    bytes: int
    used_at: float


def ignored() -> str | None:
    """The warning that the cache is not used because another user could write to it, or None."""
    found = exposure(paths.cache())
    return f"the cache is ignored, so everything is computed again: {found}" if found else None


def stats() -> dict[str, Any]:
    """What the cache holds: `path`, `limit`, `bytes`, and `parts` with the number of files and of rows (None
    where there are none to count); and the bytes of the run folders, which are no cache."""
    kept = list(_kept())
    return {
        "path": str(paths.cache()),
        "limit": cache_limit(),
        "bytes": sum(file.bytes for file in kept),
        "parts": [
            _part(name, what, files)
            for name, what in PARTS.items()
            if (files := [file for file in kept if file.part == name])
        ],
        "runs": sum(file.bytes for file in _files("runs", paths.runs())),
    }


def verify() -> dict[str, Any]:
    """Read everything that can be checked, and drop what is damaged: it will be computed again.

    Returns
    -------
    `rows` that are whole, `damaged` rows that are gone now, the names of `files` that are gone as a whole.

    Raises
    ------
    ConfigurationError
        If another user could write to the cache; `prune` and `clear`, too.
    """
    require_private(paths.cache())
    rows = damaged = 0
    gone: list[str] = []
    for file in list(_kept()):
        with suppress(OSError):
            if file.path.suffix == SUFFIX:
                layout = layout_of(file.path)
                if layout:
                    whole, torn = salvage(file.path, layout)
                    rows, damaged = rows + whole, damaged + torn
                else:
                    file.path.unlink()
                    gone.append(str(file.path.relative_to(paths.cache())))
            elif file.path.suffix == _DATABASE and not is_whole(file.path):
                discard(file.path)
                gone.append(str(file.path.relative_to(paths.cache())))
    return {"rows": rows, "damaged": damaged, "files": gone}


def prune(max_bytes: int | None = None, older_than_s: float | None = None) -> dict[str, int]:
    """Delete what was not used for `older_than_s`, then what was used least recently until the cache holds
    `max_bytes`, its limit by default.

    Returns
    -------
    Bytes that were `freed`, and those that are `left`.
    """
    require_private(paths.cache())
    before = sum(file.bytes for file in _kept())
    if older_than_s is not None:
        for file in _evictable():
            if file.used_at < time.time() - older_than_s:
                _delete(file.path)
    make_room(cache_limit() if max_bytes is None else max_bytes)
    left = sum(file.bytes for file in _kept())
    return {"freed": before - left, "left": left}


def clear() -> dict[str, int]:
    """Delete all of it; returns the bytes that were `freed`, and those that are `left`."""
    require_private(paths.cache())
    before = sum(file.bytes for file in _kept())
    for file in list(_kept()):
        if file.path.suffix == _DATABASE:
            discard(file.path)
        else:
            _delete(file.path)
    for part in PARTS:
        _delete_empty_folders(paths.cache() / part)
    left = sum(file.bytes for file in _kept())
    return {"freed": before - left, "left": left}


def make_room(limit: int) -> None:
    """Delete the least recently used files until the cache holds at most `limit` bytes."""
    excess = sum(file.bytes for file in _kept()) - limit
    if excess <= 0:
        return
    for file in sorted(_evictable(), key=lambda file: (file.used_at, file.path.name)):
        if excess > 0 and _delete(file.path):
            excess -= file.bytes


def _part(name: str, what: str, files: list[Kept]) -> dict[str, Any]:
    counted = [rows for file in files if (rows := _rows_in(file)) is not None]
    return {
        "name": name,
        "what": what,
        "files": len(files),
        "rows": sum(counted) if counted else None,
        "bytes": sum(file.bytes for file in files),
        "used_at": max(file.used_at for file in files),
    }


def _rows_in(file: Kept) -> int | None:
    layout = None
    if file.path.suffix == SUFFIX:
        with suppress(OSError):
            layout = layout_of(file.path)
    return layout.rows_in(file.bytes) if layout else None


def _kept() -> Iterator[Kept]:
    with suppress(OSError):
        for entry in sorted(paths.cache().iterdir()):
            part = entry.name.partition(".")[0]
            if part in PARTS:
                yield from _files(part, entry)


def _evictable() -> list[Kept]:
    """The files of the parts that are folders, but not their indices."""
    folders = {paths.cache() / part for part in PARTS}
    return [
        file
        for file in _kept()
        if folders & {*file.path.parents} and _DATABASE not in file.path.suffix.partition("-")
    ]


def _files(part: str, top: Path) -> Iterator[Kept]:
    """`top` itself if it is a file, or all files below it; links are not followed."""
    below = (Path(where, name) for where, _, names in os.walk(top) for name in names)
    for path in [top] if os.path.isfile(top) else below:
        with suppress(OSError):  # another process may have deleted it
            status = path.lstat()
            yield Kept(part, path, status.st_size, status.st_mtime)


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _delete_empty_folders(top: Path) -> None:
    for where, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(where)
