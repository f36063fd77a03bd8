"""A folder per training: what it takes to resume it while it is unfinished, and then the trained model.

run.json                  the recipe, what it was run with, and what its examples were
lock                      held by the process that trains
checkpoint.safetensors    where the training is, from its first epochs on
model.transfer            the end: the other three go
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from transfer_core.atomic import UNFINISHED, replacing
from transfer_core.checkpoint import Damaged, Position, read_position
from transfer_core.errors import Cancelled, ConfigurationError, RecipeError, did_you_mean
from transfer_core.paths import runs

_FACTS, _LOCK, _CHECKPOINT, _MODEL = "run.json", "lock", "checkpoint.safetensors", "model.transfer"
# Whoever lists the runs holds a lock for a moment.
_PATIENCE_S = 0.2


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is: its `recipe` with absolute paths, `versions` of what it began with, and once they are
    known its `examples`, as in `same_run`."""

    format_version: int = 1
    recipe: dict[str, Any]
    versions: dict[str, str]
    created_at: str
    examples: str | None = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training, which this process holds."""

    path: Path

    @property
    def id(self) -> str:
        """What `resume` is asked for."""
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint, if there is one."""
        return self.path / _CHECKPOINT

    @property
    def model(self) -> Path:
        """The file of the model, once it is trained."""
        return self.path / _MODEL

    @property
    def facts(self) -> RunFacts:
        """As they were written last; raises `ConfigurationError` if they can't be read."""
        try:
            return msgspec.json.decode((self.path / _FACTS).read_bytes(), type=RunFacts)
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError(f"the run {self.id} can't be resumed: {_FACTS}: {error}") from error

    def write(self, facts: RunFacts) -> None:
        """Replace the facts."""
        with replacing(self.path / _FACTS) as temporary:
            temporary.write_bytes(msgspec.json.encode(facts))

    def finish(self) -> None:
        """The model is there: nothing else is needed any more."""
        for name in (_CHECKPOINT, _LOCK, _FACTS):  # the facts last: they say that the others are ours
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a process that was killed had not finished writing."""
        for path in self.path.glob(UNFINISHED):
            with suppress(OSError):
                path.unlink()


@contextmanager
def new_run(recipe: dict[str, Any], versions: dict[str, str]) -> Iterator[RunFolder]:
    """A new folder in `TRANSFER_HOME`/runs, named by the time, for a training within the block.

    It stays if the block leaves a model or a checkpoint in it, or was cancelled.

    Raises
    ------
    ConfigurationError
        If it can't be made, or `model_date` can't be told.
    """
    model_date()  # refused before the training, not after it
    now = datetime.now(timezone.utc)
    folder = RunFolder(runs() / f"{now.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    try:
        folder.path.mkdir(parents=True)
        lock = _locked(folder)
    except OSError as error:
        raise ConfigurationError(
            f"can't make a folder for this training in {runs()}: {error.strerror}; set TRANSFER_HOME to a "
            "folder that can be written"
        ) from error
    with os.fdopen(lock, "wb"), _naming(folder), _gone_if_worthless(folder):
        created_at = now.isoformat(timespec="seconds")
        folder.write(RunFacts(recipe=recipe, versions=versions, created_at=created_at))
        yield folder


def recipe_of(name: str) -> dict[str, Any]:
    """The recipe of an unfinished run, plain; whoever trains it may hold it."""
    return RunFolder(runs() / name).facts.recipe


@contextmanager
def old_run(name: str) -> Iterator[RunFolder]:
    """The folder of a run that ended too early, or the path of one, held for the block; or of one that has
    ended well, with its model and no need to be held.

    Raises
    ------
    ConfigurationError
        There is no such run, another process trains it, or `model_date` can't be told.
    """
    folder = RunFolder(runs() / name)
    if not any(map(os.path.exists, (folder.path / _FACTS, folder.model))):
        nearest = did_you_mean(name, [run["id"] for run in resumable()])
        raise ConfigurationError(f'there is no run "{name}" in {runs()}{nearest}')
    if _has_only_its_model(folder):
        yield folder
        return
    model_date()
    try:
        lock = _locked(folder)
    except BlockingIOError as error:
        owner = (folder.path / _LOCK).read_text(errors="replace")
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
    """What a model's file gives as its time: that of the clock, or of `SOURCE_DATE_EPOCH`
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


def resumable() -> list[dict[str, Any]]:
    """The runs that ended too early, the oldest first; those that a process trains are not among them.

    Each is `{id, path, created_at, recipe, step, epoch, epochs}`; the last three are None before the first
    checkpoint.
    """
    folders = [RunFolder(path) for path in sorted(runs().glob("*")) if (path / _FACTS).exists()]
    return [_described(folder) for folder in folders if not folder.model.exists() and not _is_held(folder)]


def _described(folder: RunFolder) -> dict[str, Any]:
    where: Position | None = None
    with suppress(Damaged):
        where = read_position(folder.checkpoint)
    facts: dict[str, Any] = {"created_at": None, "recipe": None}
    with suppress(ConfigurationError):
        facts = {name: getattr(folder.facts, name) for name in facts}
    place = {name: getattr(where, name, None) for name in ("step", "epoch", "epochs")}
    return {"id": folder.id, "path": str(folder.path), **facts, **place}


def _has_only_its_model(folder: RunFolder) -> bool:
    """Whether nothing else in the folder is ours; raises `ConfigurationError` if there is no model either."""
    try:
        _ = folder.facts
    except ConfigurationError:
        if folder.model.exists():
            return True
        raise
    return False


@contextmanager
def _naming(folder: RunFolder) -> Iterator[None]:
    """Whoever stopped the training is told what to resume."""
    try:
        yield
    except Cancelled as error:
        raise Cancelled(f"cancelled; the run {folder.id} can be resumed", folder.id) from error


@contextmanager
def _gone_if_worthless(folder: RunFolder) -> Iterator[None]:
    """What failed before its first checkpoint, or would always fail, leaves nothing."""
    try:
        yield
    except BaseException as error:
        was_stopped = isinstance(error, (Cancelled, KeyboardInterrupt))
        can_go_on = folder.checkpoint.exists() and not isinstance(error, RecipeError)
        if not (was_stopped or can_go_on or folder.model.exists()):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _locked(folder: RunFolder) -> int:
    """A descriptor that holds the folder until it is closed, or the process ends, however it ends."""
    # No link is followed: what it leads to would be overwritten.
    lock = os.open(folder.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        _wait_for(lock)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for(lock: int) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.01)


def _is_held(folder: RunFolder) -> bool:
    try:
        with open(folder.path / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
