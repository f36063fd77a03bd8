"""Download a published file: it gets its name once it is complete and its digest was checked."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Protocol
from urllib.request import Request, urlopen

from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.permissions import make_directory, require_private
from transfer_core.runtime.progress import Progress

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0


class DownloadFailed(Exception):
    """The publisher could not be reached, or sent another file; the message states the reason."""


class Published(Protocol):
    """A file that is published at `url`: its name, the first digits of its sha256 (empty: not published), and
    its size in bytes (0: unknown)."""

    @property
    def url(self) -> str: ...  # noqa: D102

    @property
    def file(self) -> str: ...  # noqa: D102

    @property
    def sha256(self) -> str: ...  # noqa: D102

    @property
    def bytes(self) -> int: ...  # noqa: D102


def download(published: Published, folder: Path, progress: Progress, token: str = "") -> Path:
    """Download `published.url` into a directory.

    Two processes may download the same file at once: each writes a temporary file, and the last rename wins.

    Parameters
    ----------
    published
        Address, file name, and the digest and size where they are published.
    folder
        Directory that only this user can write to; it is created.
    progress
        Receives the number of bytes downloaded so far.
    token
        Bearer token, sent to the server of the address and not to those it redirects to.

    Returns
    -------
    Path
        The downloaded file.

    Raises
    ------
    DownloadFailed
        If the network fails, the body is cut short, or its sha256 is not the published one.
    ConfigurationError
        If the folder can't be written to, or other users can write to it.
    """
    path = folder / published.file
    with _temporary_file(folder) as (file, temporary):
        digest = _fetch(published, file, progress, token)
        if not digest.startswith(published.sha256):
            found = digest[: len(published.sha256)]
            raise DownloadFailed(f"its sha256 starts with {found}, not with {published.sha256}")
        os.replace(temporary, path)
    return path


def reason(error: Exception) -> str:
    """The reason of a failed request; if a password or token is missing, with the remedy."""
    message = str(error)
    if getattr(error, "code", None) == 407 or "407 Proxy Authentication" in message:
        return (
            f'{message}. Fix: pass the proxy with its password: Transfer.config.environment = ["HTTPS_PROXY"]'
        )
    if getattr(error, "code", None) == 401 and not os.environ.get("HF_TOKEN"):
        return f'{message}. Fix: set HF_TOKEN, and pass it on: Transfer.config.environment = ["HF_TOKEN"]'
    return message


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[IO[bytes], str]]:
    """Create a file in `folder` that is deleted afterwards unless it was renamed."""
    try:
        make_directory(folder)
        require_private(folder)
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError as error:
        reason = f"can't write to {folder}: {error.strerror}"
        raise ConfigurationError(f"{reason}. Fix: set TRANSFER_HOME to a directory of yours") from error
    try:
        with open(descriptor, "wb") as file:
            yield file, name
    finally:
        Path(name).unlink(missing_ok=True)


def _fetch(published: Published, file: IO[bytes], progress: Progress, token: str) -> str:
    """Write the whole body to `file` and sync it to disk; returns its sha256."""
    digest, done = hashlib.sha256(), 0
    try:
        request = Request(published.url, headers={"User-Agent": "transfer-core"})
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with urlopen(request, timeout=_TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.advance("choose", done, total or published.bytes, "bytes")
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadFailed(f"failed, {reason(error)}") from error
    if done < total:
        raise DownloadFailed(f"cut short, {done} of {total} bytes received")
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()
