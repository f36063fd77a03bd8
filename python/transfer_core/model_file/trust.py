"""The trust list: saved models and runs whose code may run, because they were made here or the user
vouched for them.

A file can't vouch for itself: its content was chosen by its author. So the list is kept outside of it, and is
ignored where another user could have written to it. It holds digests of content that is in memory: no path is
read again, where another file may be by then.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfer_core.runtime.errors import ConfigurationError, TransferWarning
from transfer_core.runtime.paths import home
from transfer_core.runtime.permissions import FILE, exposure, make_directory, require_private


def trust(digest: str, name: str) -> None:
    """Let the code that a saved model names run from now on.

    Parameters
    ----------
    digest
        The digest of the model's content, as `model_file` returns it.
    name
        The name of the model in errors.

    Raises
    ------
    ConfigurationError
        If that can't be noted, or another user could change the note.
    """
    _note(digest, name)


def is_trusted(digest: str) -> bool:
    """Whether `trust` was called for a model of this content."""
    return _is_noted(digest)


def trust_run(id: str, recipe: Mapping[str, Any]) -> None:
    """Let the code of the recipe's backbone run whenever the run `id` is resumed; raises as `trust` does."""
    _note(_run_digest(id, recipe), f"the run {id}")


def is_run_trusted(id: str, recipe: Mapping[str, Any]) -> bool:
    """Whether `trust_run` was called for this run and this backbone."""
    return _is_noted(_run_digest(id, recipe))


def list_path() -> Path:
    """The file of the list: a digest per line."""
    return home() / "trusted"


def _note(digest: str, name: str) -> None:
    try:
        make_directory(home())
        require_private(list_path())
        if _is_noted(digest):
            return
        # One write per line: lines of other processes can't come in between.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(list_path(), flags, FILE)
        try:
            os.write(file, f"{digest}\n".encode())
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigurationError(f"can't note that {name} is trusted: {error.strerror}") from error


def _is_noted(digest: str) -> bool:
    if found := exposure(list_path()):
        warnings.warn(f"the list of trusted models is ignored: {found}", TransferWarning, stacklevel=2)
        return False
    with suppress(OSError):
        return digest in list_path().read_text(errors="replace").split()
    return False


def _run_digest(id: str, recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(["run", id, recipe.get("backbone")]).encode()).hexdigest()
