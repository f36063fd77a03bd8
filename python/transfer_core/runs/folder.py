"""A directory per training: the files to resume it while it is unfinished, then the trained model.

run.json                  recipe, versions of libraries, digests of the examples
lock                      locked by the training process
checkpoint.safetensors    state of the training, written after its first epochs
model.transfer            the result; the three files above are then removed
report.html               a page about the result
saved                     an empty file: the model was also saved elsewhere
cluster                   an empty file: the training runs on a cluster, which has the checkpoint
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from transfer_core.model_file import trust as trusted
from transfer_core.model_file.usage import REPORT, SAVED
from transfer_core.runtime.atomic import UNFINISHED, replacing
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.permissions import FILE, Exposure, exposure, exposure_of_entry

FACTS, LOCK, CHECKPOINT, MODEL = "run.json", "lock", "checkpoint.safetensors", "model.transfer"
CLUSTER = "cluster"
# Any other file in the directory belongs to the user.
OWN_FILES = (CHECKPOINT, MODEL, REPORT, SAVED, CLUSTER, FACTS, LOCK)
ID = re.compile(r"[\w-]+", re.ASCII)
# Longer than a listing of the runs holds each lock.
_PATIENCE_S = 0.2


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `run.json`: recipe with absolute paths, `versions` of libraries, and `examples`.

    `examples` is None before the data is read; see `resume_check.examples_of`.
    """

    format_version: int = 1
    recipe: dict[str, Any]
    versions: dict[str, str]
    created_at: str
    examples: str | None = None


@dataclass(frozen=True)
class RunFolder:
    """The directory of one training; with `trust`, its content may run code."""

    path: Path
    trust: bool = False

    @property
    def id(self) -> str:
        """The id that `resume` takes."""
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint, which may not exist."""
        return self.path / CHECKPOINT

    @property
    def model(self) -> Path:
        """Path of the model, which exists once it is trained."""
        return self.path / MODEL

    @property
    def report(self) -> Path:
        """Path of the report, which a finished training has written."""
        return self.path / REPORT

    @property
    def facts(self) -> RunFacts:
        """Content of `run.json`; raises `ConfigurationError` if it cannot be read."""
        try:
            return msgspec.json.decode((self.path / FACTS).read_bytes(), type=RunFacts)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"the run {self.id} can't be resumed: {FACTS}: {error}") from error

    @property
    def recipe(self) -> dict[str, Any]:
        """The stored recipe, plain. Its `trust` counts only if the caller gave it, now or at the start."""
        recipe = self.facts.recipe
        if not recipe.get("trust") or self.trust or trusted.is_run_trusted(self.id, recipe):
            return recipe
        return {**recipe, "trust": False}

    @property
    def exposure(self) -> Exposure | None:
        """The reason not to read this directory: another user could have written to it or to a file in it."""
        if self.path.is_symlink():
            return Exposure(self.path, "is a link", f"rm {shlex.quote(str(self.path))}")
        try:
            files = sorted(self.path.iterdir())
        except OSError:
            files = []
        return exposure(self.path) or next(filter(None, map(exposure_of_entry, files)), None)

    def write(self, facts: RunFacts) -> None:
        """Replace the facts."""
        with replacing(self.path / FACTS, FILE) as temporary:
            temporary.write_bytes(msgspec.json.encode(facts))

    def finish(self) -> None:
        """Remove all but the model and its report."""
        # run.json last: it marks the others as files of a run.
        for name in (CHECKPOINT, CLUSTER, LOCK, FACTS):
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the unfinished files of a process that was killed."""
        for path in self.path.glob(UNFINISHED):
            with suppress(OSError):
                path.unlink()

    def lock(self) -> int:
        """Lock the directory; return a descriptor that holds the lock until it is closed or the process ends.

        Raises
        ------
        BlockingIOError
            If another process holds the lock.
        OSError
            If the lock file cannot be opened.
        """
        # Links are not followed: their target would be overwritten.
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE)
        try:
            _wait_for(lock)
            os.ftruncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
        except BaseException:
            os.close(lock)
            raise
        return lock

    def is_held(self) -> bool:
        """Return whether a training process holds the lock."""
        try:
            with open(self.path / LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _wait_for(lock: int) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.01)
