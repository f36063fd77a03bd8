"""Trust list: digests of the saved models and runs whose code may run.

Models trained here and those that the user trusts are listed. The list is separate from the files, whose
authors choose their content, and is ignored if another user could have written to it. Digests are of content
in memory: a path could hold another file when it is read again.
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
    """Trust the code that a saved model names, from now on.

    Parameters
    ----------
    digest
        The digest of the model's content, as `model_file` returns it.
    name
        The name of the model in errors.

    Raises
    ------
    ConfigurationError
        If the list can't be written, or another user could change it.
    """
    _note(digest, name)


def is_trusted(digest: str) -> bool:
    """Whether `trust` was called for a model of this content."""
    return _is_noted(digest)


def trust_run(id: str, recipe: Mapping[str, Any]) -> None:
    """Trust the code of the recipe's backbone when the run `id` is resumed; raises as `trust` does."""
    _note(_run_digest(id, recipe), f"the run {id}")


def is_run_trusted(id: str, recipe: Mapping[str, Any]) -> bool:
    """Whether `trust_run` was called for this run and this backbone."""
    return _is_noted(_run_digest(id, recipe))


def list_path() -> Path:
    """Path of the list, a text file with a digest per line."""
    return home() / "trusted"


def _note(digest: str, name: str) -> None:
    try:
        make_directory(home())
        require_private(list_path())
        if _is_noted(digest):
            return
        # One write per line, so that lines of concurrent processes don't interleave.
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
