"""The sha256 of every file, and early word of those that are no images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from transfer_core.cache.digests import Seen, is_settled, known_digests, remember, stamp_of
from transfer_core.data.bad_input import Unreadable, bad_input, by_itself, explain, open_input
from transfer_core.data.container import excess_bytes
from transfer_core.data.formats import HEADER_BYTES, complaint
from transfer_core.runtime.devices import cores
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import is_spooled

_CHUNK_BYTES = 1 << 20
_REMEMBER_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`digest` is the sha256 in hex, `stamp` the state of the file that had it; where `problem` is not None
    the file can't be used."""

    digest: str
    problem: str | None = None
    stamp: str = ""


def fingerprints(paths: Sequence[str], progress: Progress) -> list[Fingerprint]:
    """One fingerprint per path, in order.

    A path that occurs twice is read once; a file that an earlier call has read and that has not changed since
    is not read.
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
    """That the file, which has just been read, still has the digest that was taken when it had `stamp`.

    Raises
    ------
    DataError
        If it has another.
    """
    try:
        if stamp_of(os.stat(path)) == stamp:
            return
    except OSError:
        pass  # gone, which `_read` says
    # A new name, a right or another copy in its place changes the stamp too.
    found, _ = _read(path)
    if found.digest != digest:
        raise by_itself(bad_input(path, found.problem or "it was changed while it was in use", path))


def _remembered(
    readings: Iterable[tuple[Fingerprint, Seen | None]],
) -> Generator[Fingerprint, None, None]:
    """The fingerprints. What was seen is kept for other calls, some files at a time and when it ends, however
    it ends."""
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
    """Read one file in chunks; the header is looked at on the way. What may have changed meanwhile, or could
    change unseen, was not `Seen`."""
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
