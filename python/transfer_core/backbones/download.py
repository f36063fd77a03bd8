"""Fetch one published file: whole, checked, and under its name only then."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.request import Request, urlopen

from transfer_core.backbones.facts import WeightsFacts
from transfer_core.errors import ConfigurationError
from transfer_core.progress import Progress

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0


class DownloadFailed(Exception):
    """The publisher could not be reached, or sent something else; the message says which."""


def download(weights: WeightsFacts, folder: Path, progress: Progress) -> Path:
    """Fetch `weights.url` into `folder`.

    Tells `progress` the bytes that have come. Two processes may fetch the same file at once: each writes a
    file of its own, and the last rename wins.

    Raises
    ------
    DownloadFailed
        If the network fails, the body is cut short, or its sha256 is not the published one.
    ConfigurationError
        If the folder can't be written to.
    """
    path = folder / weights.file
    with _temporary_file(folder) as (file, temporary):
        digest = _fetch(weights, file, progress)
        if not digest.startswith(weights.sha256):
            found = digest[: len(weights.sha256)]
            raise DownloadFailed(f"its sha256 starts with {found}, not with {weights.sha256}")
        os.replace(temporary, path)
    return path


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[IO[bytes], str]]:
    """A file in `folder` that is gone afterwards unless it was renamed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError as error:
        raise ConfigurationError(f"can't write to {folder}: {error.strerror}; set TRANSFER_HOME") from error
    try:
        with open(descriptor, "wb") as file:
            yield file, name
    finally:
        Path(name).unlink(missing_ok=True)


def _fetch(weights: WeightsFacts, file: IO[bytes], progress: Progress) -> str:
    """Copy the body into `file`, whole and on disk; returns its sha256."""
    digest, done = hashlib.sha256(), 0
    try:
        request = Request(weights.url, headers={"User-Agent": "transfer-core"})
        with urlopen(request, timeout=_TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.advance("choose", done, total or weights.bytes, "bytes")
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadFailed(f"failed, {error}") from error
    if done < total:
        raise DownloadFailed(f"cut short, {done} of {total} bytes came")
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()
