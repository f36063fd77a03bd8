"""Files at the URLs of stores, such as `s3://bucket/photos`, read through fsspec."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transfer_core.data.bad_input import explain, printable
from transfer_core.data.formats import has_image_extension
from transfer_core.runtime.errors import DataError, DependencyError
from transfer_core.runtime.limits import excess

# Packages of fsspec's protocols, for the error that names the missing one.
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
# Protocols that read other files than those of a store, or that wrap another protocol.
_NOT_STORES = ("file", "local", "cached", "blockcache", "filecache", "simplecache", "reference", "dir")


@dataclass(frozen=True)
class RemoteImage:
    """An image of a store; `version` changes with its size or its tag, `read` returns its bytes."""

    url: str
    version: str
    read: Callable[[], bytes]


def is_url(path: str) -> bool:
    """Whether a path names a store: `s3://bucket/photos`."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE) is not None


def remote_images(url: str) -> Iterator[RemoteImage]:
    """Yield the images below a URL in the order of their paths, folder by folder.

    Raises
    ------
    DataError
        The URL can't be listed, or holds no images.
    DependencyError
        The package of its protocol is missing.
    """
    system, root = _opened(url)
    found = False
    try:
        for folder, folders, files in system.walk(root, detail=True):
            # `walk` follows the order of this mapping.
            ordered = sorted(folders.items())
            folders.clear()
            folders.update(ordered)
            for name, facts in sorted(files.items()):
                if has_image_extension(name) and not name.startswith("."):
                    found = True
                    path = f"{folder}/{name}"
                    read = partial(_bytes, system, path)
                    yield RemoteImage(system.unstrip_protocol(path), _version(facts), read)
    except OSError as error:
        raise DataError(f"{printable(url)} can't be listed: {explain(error)}") from error
    if not found:
        raise DataError(f"{printable(url)} holds no images")


def remote_file(url: str, folder: Path) -> str:
    """Copy one file of a store into a folder and return its path; raises as `remote_images` does."""
    system, path = _opened(url)
    target = folder / os.path.basename(path)
    try:
        _check_size(url, int(system.size(path) or 0), "max_data_bytes")
        system.get_file(path, str(target))
    except OSError as error:
        raise DataError(f"{printable(url)} can't be read: {explain(error)}") from error
    return str(target)


def _opened(url: str) -> tuple[Any, str]:
    """The store and the path in it."""
    from fsspec.core import url_to_fs

    protocol = url.split("://", 1)[0].lower()
    if protocol in _NOT_STORES or "::" in url:
        raise DataError(
            f"{printable(url)}: expected a path or the URL of a store, such as s3://bucket/photos"
        )
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "of its protocol for fsspec")
        raise DependencyError(f"reading {printable(protocol)}:// URLs", package) from error
    except (ValueError, OSError) as error:
        raise DataError(f"{printable(url)} can't be opened: {explain(error)}") from error
    return system, path


def _bytes(system: Any, path: str) -> bytes:
    try:
        _check_size(path, int(system.size(path) or 0), "max_image_bytes")
        return bytes(system.cat_file(path))
    except OSError as error:
        raise DataError(f"{printable(path)}: {explain(error)}") from error


def _check_size(path: str, size: int, name: str) -> None:
    if problem := excess(name, size, f"its {size} bytes"):
        raise DataError(f"{printable(path)}: {problem}")


def _version(facts: dict[str, Any]) -> str:
    return f"{facts.get('size')} {facts.get('ETag') or facts.get('etag') or facts.get('mtime')}"
