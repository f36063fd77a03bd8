"""The directory of a training: made for a new one, or held again for one that is resumed."""

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
from transfer_core.runs.folder import FACTS, ID, LOCK, RunFacts, RunFolder
from transfer_core.runs.listing import resumable
from transfer_core.runtime import paths
from transfer_core.runtime.errors import Cancelled, ConfigurationError, RecipeError, did_you_mean
from transfer_core.runtime.permissions import DIRECTORY, make_directory, require_private


@contextmanager
def new_run(recipe: dict[str, Any], versions: dict[str, str]) -> Iterator[RunFolder]:
    """A new directory in `TRANSFER_HOME`/runs, named by the time, for a training within the block.

    It stays if the block leaves a model or a checkpoint in it, or was cancelled.

    Raises
    ------
    ConfigurationError
        If it can't be made, another user could write to it, or `SOURCE_DATE_EPOCH` is no time.
    """
    model_date()  # refused before the training, not after it
    now = datetime.now(timezone.utc)
    folder = RunFolder(paths.runs() / f"{now.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    try:
        make_directory(paths.runs())
        require_private(paths.runs())
        folder.path.mkdir(DIRECTORY)
        lock = folder.lock()
    except OSError as error:
        raise ConfigurationError(
            f"can't make a folder for this training in {paths.runs()}: {error.strerror}; set TRANSFER_HOME "
            "to a folder that can be written"
        ) from error
    with os.fdopen(lock, "wb"), _naming(folder), _gone_if_worthless(folder):
        created_at = now.isoformat(timespec="seconds")
        folder.write(RunFacts(recipe=recipe, versions=versions, created_at=created_at))
        if recipe.get("trust"):
            trusted.trust_run(folder.id, recipe)
        yield folder


def find_run(name: str, trust: bool = False) -> RunFolder:
    """The directory of a run.

    Parameters
    ----------
    name
        The id of a run in `TRANSFER_HOME`/runs; with `trust` also the path of a directory.
    trust
        Whether the caller vouches for its content, which may run code. Without it, no other user may have
        been able to write to the directory.

    Raises
    ------
    ConfigurationError
        There is no such run, or it is not to be read without `trust`.
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
    """The directory of a run that was interrupted, held for the block; that of a finished run, which has
    its model, need not be held.

    Raises
    ------
    ConfigurationError
        Another process trains it, it is damaged, or `SOURCE_DATE_EPOCH` is no time.
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
            f"the run {folder.id} is being trained by another process (pid {owner}): wait for it, or end it"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the run {folder.id} can't be resumed: {error.strerror}") from error
    with os.fdopen(lock, "wb"), _naming(folder):
        folder.sweep()
        if folder.model.exists():
            folder.finish()  # it was killed before it tidied up
        yield folder


def model_date() -> datetime:
    """The time in a model's file: that of the clock, or of `SOURCE_DATE_EPOCH`
    (reproducible-builds.org/specs/source-date-epoch).

    Raises
    ------
    ConfigurationError
        If that is no number of seconds.
    """
    chosen = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(chosen), timezone.utc) if chosen else datetime.now(timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"SOURCE_DATE_EPOCH is {chosen}, which is no time: set it to seconds since 1970, or unset it"
        ) from error


def _has_only_its_model(folder: RunFolder) -> bool:
    """Whether no other file in the directory is ours; raises `ConfigurationError` if there is no model
    either."""
    try:
        _ = folder.facts
    except ConfigurationError:
        if folder.model.exists():
            return True
        raise
    return False


@contextmanager
def _naming(folder: RunFolder) -> Iterator[None]:
    """Name the run to resume in the error of a cancelled training."""
    try:
        yield
    except Cancelled as error:
        raise Cancelled(f"cancelled; the run {folder.id} can be resumed", folder.id) from error


@contextmanager
def _gone_if_worthless(folder: RunFolder) -> Iterator[None]:
    """Remove the directory of a training that failed before its first checkpoint, or would fail again."""
    try:
        yield
    except BaseException as error:
        was_stopped = isinstance(error, (Cancelled, KeyboardInterrupt))
        can_go_on = folder.checkpoint.exists() and not isinstance(error, RecipeError)
        if not (was_stopped or can_go_on or folder.model.exists()):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
