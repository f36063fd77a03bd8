"""Which saved models may run the code that they name: those trained here, and those somebody vouched for.

A file can't vouch for itself: what it says about trust is what whoever made it wanted said.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from transfer_core.errors import ConfigurationError
from transfer_core.paths import home


def trust(path: Path) -> None:
    """Let the code that the saved model at `path` names be run from now on, whoever loads a copy of it.

    Raises
    ------
    ConfigurationError
        If that can't be noted.
    """
    if is_trusted(path):
        return
    try:
        home().mkdir(parents=True, exist_ok=True)
        # A line is written at once: nobody else's can come in between.
        file = os.open(_list(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, f"{_digest(path)}\n".encode())
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigurationError(f"can't note that {path} is trusted: {error.strerror}") from error


def is_trusted(path: Path) -> bool:
    """Whether `trust` was called for a file of these bytes."""
    with suppress(OSError):
        return _digest(path) in _list().read_text().split()
    return False


def _list() -> Path:
    return home() / "trusted"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
