"""Storage that all nodes of a cluster share: a directory, or a URL that fsspec opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.permissions import FILE, make_directory, require_private

_FULL = (EDQUOT, ENOSPC)


class Storage:
    """Files by relative name; a file appears whole or not at all.

    Parameters
    ----------
    location
        A path, or a URL with a protocol that fsspec has (`s3://bucket/folder`).

    Raises
    ------
    ConfigurationError
        Another user could write to the directory, or the package of the protocol is missing.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._folder = None if "://" in location else Path(location).expanduser().absolute()
        if self._folder:
            require_private(self._folder)
        else:
            self._fs, self._root = _opened(location)

    def read(self, name: str, most: int = 64 << 20) -> bytes | None:
        """The content of a file; None if there is none, or it has more than `most` bytes."""
        with self._reporting(), suppress(FileNotFoundError):
            with self._open(name) as file:
                content: bytes = file.read(most + 1)
            return content if len(content) <= most else None
        return None

    def write(self, name: str, content: bytes) -> None:
        """Create or replace a file."""
        with self._reporting():
            if self._folder:
                with replacing(self._made(name), FILE) as temporary:
                    temporary.write_bytes(content)
            else:
                self._fs.pipe_file(self._path(name), content)

    def put(self, local: Path, name: str) -> None:
        """Copy a local file into the storage."""
        with self._reporting():
            if self._folder:
                with replacing(self._made(name), FILE) as temporary:
                    shutil.copyfile(local, temporary)
            else:
                self._fs.put_file(str(local), self._path(name))

    def get(self, name: str, local: Path) -> bool:
        """Copy a file to a local path; False if there is none."""
        with self._reporting(), suppress(FileNotFoundError):
            with (
                self._open(name) as source,
                replacing(local, FILE) as temporary,
                open(temporary, "wb") as file,
            ):
                shutil.copyfileobj(source, file, 1 << 20)
            return True
        return False

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._reporting():
            return (self._folder / name).exists() if self._folder else bool(self._fs.exists(self._path(name)))

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with self._reporting(), suppress(FileNotFoundError):
            if self._folder:
                os.unlink(self._folder / name)
            else:
                self._fs.rm_file(self._path(name))

    def _open(self, name: str) -> Any:
        return open(self._folder / name, "rb") if self._folder else self._fs.open(self._path(name), "rb")

    def _made(self, name: str) -> Path:
        assert self._folder
        path = self._folder / name
        make_directory(path.parent)
        return path

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ConfigurationError(self._failure(error)) from error
        except ConfigurationError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise ConfigurationError(self._failure(error.__cause__)) from error

    def _failure(self, error: OSError) -> str:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            return f"the storage {self.location} is full or its quota is exceeded ({reason}). Fix: free space"
        return f"the storage {self.location} can't be used ({reason}). Fix: mount it writable"


def _opened(location: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"the storage {location} can't be opened ({error}). Fix: install the package of its protocol "
            "(s3fs for s3://) here and on all nodes, or give a directory that all nodes see"
        ) from None
    return fs, str(root).rstrip("/")
