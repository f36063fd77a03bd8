"""The sha256 of every file, and early word of those that are no images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from transfer_core.data.bad_input import Unreadable, open_input
from transfer_core.data.formats import HEADER_BYTES, complaint
from transfer_core.progress import Progress

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`digest` is the sha256 in hex; where `problem` is not None the file can't be used."""

    digest: str
    problem: str | None = None


def fingerprints(paths: Sequence[str], progress: Progress) -> list[Fingerprint]:
    """One fingerprint per path, in order; a path that occurs twice is read once."""
    distinct = list(dict.fromkeys(paths))
    pool = ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) + 2), thread_name_prefix="fingerprint")
    try:
        found = pool.map(_fingerprint, distinct)
        tracked = progress.track(found, "choose", len(distinct), "images")
        by_path = dict(zip(distinct, tracked, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    return [by_path[path] for path in paths]


def _fingerprint(path: str) -> Fingerprint:
    """Read one file in chunks; the header is looked at on the way."""
    try:
        with open_input(path) as file:
            header = file.read(HEADER_BYTES)
            if problem := complaint(header, path):
                return Fingerprint("", problem)
            sha256 = hashlib.sha256(header)
            while chunk := file.read(_CHUNK_BYTES):
                sha256.update(chunk)
            return Fingerprint(sha256.hexdigest())
    except Unreadable as reason:
        return Fingerprint("", str(reason))
    except OSError as error:
        return Fingerprint("", f"it can't be read, {(error.strerror or str(error)).lower()}")
