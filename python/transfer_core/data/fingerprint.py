"""sha256 of every file, and early detection of files that are not images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from transfer_core.cache.digests import Seen, is_settled, known_digests, remember, stamp_of
from transfer_core.data.bad_input import Unreadable, bad_input, explain, open_input, without_skip_hint
from transfer_core.data.container import excess_bytes
from transfer_core.data.formats import HEADER_BYTES, complaint
from transfer_core.runtime.devices import cores
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import is_spooled

_CHUNK_BYTES = 1 << 20
_REMEMBER_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """sha256 (`digest`) in hex and the state (`stamp`) of a file, or the `problem` that makes it unusable."""

    digest: str
    problem: str | None = None
    stamp: str = ""


def fingerprints(paths: Sequence[str], progress: Progress) -> list[Fingerprint]:
    """Fingerprint each path, in order.

    Each distinct path is read once; files with an unchanged stamp are cache hits and are not read.
    """
    distinct = list(dict.fromkeys(paths))
    known = known_digests(distinct)
    by_path = {path: Fingerprint(seen.digest, stamp=seen.stamp) for path, seen in known.items()}
    unknown = [path for path in distinct if path not in by_path]
    pool = ThreadPoolExecutor(max_workers=min(8, cores() + 2), thread_name_prefix="fingerprint")
    try:
        with closing(_remembered(pool.map(_read, unknown))) as found:
            for path in progress.track(distinct, "choose", len(distinct), "images"):
                if path not in by_path:
                    by_path[path] = next(found)
    finally:
        pool.shutdown(cancel_futures=True)
    return [by_path[path] for path in paths]


def check_unchanged(path: str, stamp: str, digest: str) -> None:
    """Check that a file is unchanged since its digest was taken.

    Parameters
    ----------
    path
        The file.
    stamp
        Its state when the digest was taken.
    digest
        Its sha256 at that time, in hex.

    Raises
    ------
    DataError
        If the digest differs.
    """
    try:
        if stamp_of(os.stat(path)) == stamp:
            return
    except OSError:
        pass  # `_read` reports a missing file
    # A rename, new permissions or an identical copy change the stamp too.
    found, _ = _read(path)
    if found.digest != digest:
        raise without_skip_hint(bad_input(path, found.problem or "it was changed while it was in use", path))


def _remembered(
    readings: Iterable[tuple[Fingerprint, Seen | None]],
) -> Generator[Fingerprint, None, None]:
    """Yield the fingerprints and cache their digests in batches, also if the caller stops early."""
    fresh: list[Seen] = []
    try:
        for fingerprint, seen in readings:
            if seen and not is_spooled(seen.path):
                fresh.append(seen)
            if len(fresh) >= _REMEMBER_EVERY:
                remember(fresh)
                fresh = []
            yield fingerprint
    finally:
        remember(fresh)


def _read(path: str) -> tuple[Fingerprint, Seen | None]:
    """Read one file in chunks and check its header; `Seen` only if its digest may be cached."""
    try:
        with open_input(path) as file:
            before = os.fstat(file.fileno())
            if problem := excess_bytes(before.st_size):
                return Fingerprint("", problem), None
            settled = is_settled(before)
            header = file.read(HEADER_BYTES)
            if problem := complaint(header, path):
                return Fingerprint("", problem), None
            sha256 = hashlib.sha256(header)
            while chunk := file.read(_CHUNK_BYTES):
                sha256.update(chunk)
            stamp, digest = stamp_of(before), sha256.hexdigest()
            unchanged = settled and stamp == stamp_of(os.fstat(file.fileno()))
            seen = Seen(path, stamp, digest) if unchanged else None
            return Fingerprint(digest, stamp=stamp), seen
    except Unreadable as reason:
        return Fingerprint("", str(reason)), None
    except OSError as error:
        return Fingerprint("", f"it can't be read, {explain(error)}"), None
