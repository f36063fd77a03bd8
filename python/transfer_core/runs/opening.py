"""Open the directory of a new training, or of one to resume."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from transfer_core.model_file import trust as trusted
from transfer_core.runs.folder import CLUSTER, FACTS, ID, LOCK, RunFacts, RunFolder
from transfer_core.runs.listing import resumable
from transfer_core.runtime import paths
from transfer_core.runtime.errors import Cancelled, ConfigurationError, RecipeError, did_you_mean
from transfer_core.runtime.permissions import DIRECTORY, make_directory, require_private


@contextmanager
def new_run(recipe: dict[str, Any], versions: dict[str, str]) -> Iterator[RunFolder]:
    """Create and lock a directory in `TRANSFER_HOME`/runs for a training within the block.

    It is removed if the block fails before the first checkpoint, unless it was cancelled.

    Raises
    ------
    ConfigurationError
        If it cannot be created, another user could write to it, or `SOURCE_DATE_EPOCH` is not a time.
    """
    model_date()  # raises before the training, not after it
    now = datetime.now(timezone.utc)
    folder = RunFolder(paths.runs() / f"{now.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    try:
        make_directory(paths.runs())
        require_private(paths.runs())
        folder.path.mkdir(DIRECTORY)
        lock = folder.lock()
    except OSError as error:
        raise ConfigurationError(
            f"cannot create a directory for this training in {paths.runs()}: {error.strerror}. Fix: set "
            "TRANSFER_HOME to a writable directory"
        ) from error
    with os.fdopen(lock, "wb"), _naming(folder), _removed_if_useless(folder):
        created_at = now.isoformat(timespec="seconds")
        folder.write(RunFacts(recipe=recipe, versions=versions, created_at=created_at))
        if recipe.get("trust"):
            trusted.trust_run(folder.id, recipe)
        yield folder


def find_run(name: str, trust: bool = False) -> RunFolder:
    """Return the directory of a run.

    Parameters
    ----------
    name
        The id of a run in `TRANSFER_HOME`/runs; with `trust` also the path of a directory.
    trust
        Whether the content, which may run code, is trusted. Without it, the directory must not be writable by
        other users.

    Raises
    ------
    ConfigurationError
        If there is no such run, or it must not be read without `trust`.
    """
    is_id = ID.fullmatch(name) is not None
    if not is_id and not trust:
        raise ConfigurationError(
            f'"{name}" is not the id of a run (letters, digits, _ and -). Fix: give an id that '
            "`transfer runs list` lists; or trust: true, if this is the directory of a run, and you trust "
            "its content, which may run code"
        )
    folder = RunFolder(paths.runs() / name if is_id else Path(name).absolute(), trust)
    if not any(map(os.path.exists, (folder.path / FACTS, folder.model))):
        nearest = did_you_mean(name, [run["id"] for run in resumable()])
        raise ConfigurationError(f'there is no run "{name}" in {paths.runs()}{nearest}')
    if not trust and (exposed := folder.exposure):
        raise ConfigurationError(
            f"the run {folder.id} can't be resumed: {exposed}; or give trust: true, if you trust its "
            "content, which may run code"
        )
    return folder


@contextmanager
def old_run(folder: RunFolder) -> Iterator[RunFolder]:
    """Lock the directory of an interrupted run for the block; that of a finished run needs no lock.

    Raises
    ------
    ConfigurationError
        If another process trains it, it is damaged, or `SOURCE_DATE_EPOCH` is not a time.
    """
    if _has_only_its_model(folder):
        yield folder
        return
    model_date()
    try:
        lock = folder.lock()
    except BlockingIOError as error:
        owner = (folder.path / LOCK).read_text(errors="replace")
        raise ConfigurationError(
            f"the run {folder.id} is being trained by another process (pid {owner}). "
            "Fix: wait for it, or end it"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the run {folder.id} can't be resumed: {error.strerror}") from error
    with os.fdopen(lock, "wb"), _naming(folder):
        folder.sweep()
        if folder.model.exists():
            folder.finish()  # it was killed before it removed its other files
        yield folder


def model_date() -> datetime:
    """Return the creation time for a model: now, or `SOURCE_DATE_EPOCH`.

    See reproducible-builds.org/specs/source-date-epoch.

    Raises
    ------
    ConfigurationError
        If `SOURCE_DATE_EPOCH` is not a number of seconds.
    """
    chosen = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(chosen), timezone.utc) if chosen else datetime.now(timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"SOURCE_DATE_EPOCH is {chosen}, which is not a time. "
            "Fix: set it to seconds since 1970, or unset it"
        ) from error


def _has_only_its_model(folder: RunFolder) -> bool:
    """Return whether only the model is left; raises `ConfigurationError` if nothing readable is."""
    try:
        _ = folder.facts
    except ConfigurationError:
        if folder.model.exists():
            return True
        raise
    return False


@contextmanager
def _naming(folder: RunFolder) -> Iterator[None]:
    """Add the id of the run to the error of a cancelled training."""
    try:
        yield
    except Cancelled as error:
        raise Cancelled(f"cancelled; the run {folder.id} can be resumed", folder.id) from error


@contextmanager
def _removed_if_useless(folder: RunFolder) -> Iterator[None]:
    """Remove the directory of a training that failed before its first checkpoint or would fail again."""
    try:
        yield
    except BaseException as error:
        was_stopped = isinstance(error, (Cancelled, KeyboardInterrupt))
        is_kept = folder.checkpoint.exists() or (folder.path / CLUSTER).exists()
        can_resume = is_kept and not isinstance(error, RecipeError)
        if not (was_stopped or can_resume or folder.model.exists()):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
