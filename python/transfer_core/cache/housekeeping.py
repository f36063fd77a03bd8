"""Statistics, verification and eviction of the cache.

All parts of the cache are files named in `PARTS`; nothing else in `TRANSFER_HOME`/cache is touched. Files may
vanish at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from transfer_core.cache import networks
from transfer_core.cache.database import SUFFIX, discard, is_whole
from transfer_core.cache.limit import cache_limit
from transfer_core.cache.rows import Batch, batches_of, count_rows, delete_batches, delete_damaged_rows
from transfer_core.runtime import paths
from transfer_core.runtime.permissions import exposure, require_private

# By the name of the file, without its ending.
PARTS = {
    "features": "embeddings of images",
    "near_duplicates": "thumbnails of images",
    "digests": "digests of image files",
    "measurements": "what was measured on this machine",
    networks.PART: "converted graphs and tensors of backbones",
}
# The parts that are files of rows, which can be evicted batch by batch.
ROWS = ("features", "near_duplicates")
_WHOLE_FILE = -1


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
    """The contents of the cache.

    Returns
    -------
    `path`; `limit` and `bytes`; `parts`, each with its numbers of files and rows (None where there are none);
    and `runs`, the bytes of the run directories, which are not part of the cache.
    """
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
        "runs": sum(
            _size_of(Path(where, name)) for where, _, names in os.walk(paths.runs()) for name in names
        ),
    }


def verify() -> dict[str, Any]:
    """Read everything that can be checked and delete what is damaged: it will be computed again.

    Returns
    -------
    `rows` that are intact, `damaged` rows that were deleted, the names of `files` that were deleted.

    Raises
    ------
    ConfigurationError
        If another user could write to the cache; `prune` and `clear` too.
    """
    require_private(paths.cache())
    rows = damaged = 0
    gone: list[str] = []
    for file in list(_kept()):
        if file.part == networks.PART:
            if not networks.is_intact(file.path):
                _unlink(file.path)
                gone.append(file.path.name)
        elif file.path.suffix != SUFFIX:
            continue
        elif not is_whole(file.path):
            discard(file.path)
            gone.append(file.path.name)
        elif file.part in ROWS and (found := delete_damaged_rows(file.path)):
            rows, damaged = rows + found[0], damaged + found[1]
    return {"rows": rows, "damaged": damaged, "files": gone}


def prune(max_bytes: int | None = None, older_than_s: float | None = None) -> dict[str, int]:
    """Delete rows and networks that were not used for `older_than_s`, then the least recently used ones until
    the cache holds `max_bytes`, by default its limit.

    Returns
    -------
    The bytes `freed`, and those `left`.
    """
    require_private(paths.cache())
    before = _total()
    if older_than_s is not None:
        oldest = time.time() - older_than_s
        _delete(one for one in _evictable() if one.used_at < oldest)
    make_room(cache_limit() if max_bytes is None else max_bytes)
    left = _total()
    return {"freed": before - left, "left": left}


def clear() -> dict[str, int]:
    """Delete the whole cache; returns the bytes `freed`, and those `left`."""
    require_private(paths.cache())
    before = _total()
    for file in list(_kept()):
        if file.path.suffix == SUFFIX:
            discard(file.path)
        else:
            _unlink(file.path)
    left = _total()
    return {"freed": before - left, "left": left}


def make_room(limit: int) -> None:
    """Evict the least recently used rows and networks until the cache holds at most `limit` bytes."""
    while (excess := _total() - limit) > 0:
        evicted = []
        for one in sorted(_evictable()):
            if excess <= 0:
                break
            evicted.append(one)
            excess -= one.most_bytes
        if not _delete(evicted):
            return


def _part(name: str, what: str, files: list[Kept]) -> dict[str, Any]:
    return {
        "name": name,
        "what": what,
        "files": len(files),
        "rows": count_rows(_place(name)) if name in ROWS else None,
        "bytes": sum(file.bytes for file in files),
        "used_at": max(file.used_at for file in files),
    }


def _kept() -> Iterator[Kept]:
    with suppress(OSError):
        for path in sorted(paths.cache().iterdir()):
            part = path.name.partition(".")[0]
            if part in PARTS and path.is_file():
                with suppress(OSError):  # another process may have deleted it
                    status = path.lstat()
                    yield Kept(part, path, status.st_size, status.st_mtime)


def _total() -> int:
    return sum(file.bytes for file in _kept())


def _evictable() -> list[Batch]:
    """The batches of all files of rows; a network is a file of its own, as a batch with the id -1."""
    rows = [batch for name in ROWS if os.path.exists(_place(name)) for batch in batches_of(_place(name))]
    files = (file for file in _kept() if file.part == networks.PART)
    return [*rows, *(Batch(file.used_at, file.path, _WHOLE_FILE, file.bytes) for file in files)]


def _delete(evicted: Iterable[Batch]) -> bool:
    """Delete these; False if there are none, or if a file can't be written now."""
    by_file: dict[Path, list[int]] = {}
    for one in evicted:
        by_file.setdefault(one.path, []).append(one.id)
    done = [
        _unlink(path) if ids == [_WHOLE_FILE] else delete_batches(path, ids) for path, ids in by_file.items()
    ]
    return bool(done) and all(done)


def _unlink(path: Path) -> bool:
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _place(name: str) -> Path:
    return paths.cache() / f"{name}{SUFFIX}"


def _size_of(path: Path) -> int:
    with suppress(OSError):  # another process may have deleted it
        return path.lstat().st_size
    return 0
