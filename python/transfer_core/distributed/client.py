"""Train on a cluster from this process: submit a job, follow it, and fetch its model.

The job continues when this process ends; `resume` finds it again by the id of the run. A job whose node or
head was lost is submitted again, and resumes from the checkpoint in the storage.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from secrets import token_hex
from typing import Any

from transfer_core.distributed import journal, nodes
from transfer_core.distributed.cluster import Cluster, check_sources
from transfer_core.distributed.jobs import ENDED, JobServer, Unreachable
from transfer_core.distributed.storage import Storage
from transfer_core.model.loading import open_model_file
from transfer_core.model.model import Model
from transfer_core.recipe.schema import Recipe
from transfer_core.runs import RunFolder, find_run, new_run, old_run, upkeep
from transfer_core.runs.folder import CHECKPOINT, CLUSTER, FACTS, ID, MODEL
from transfer_core.runs.resume_check import stored
from transfer_core.runtime import paths
from transfer_core.runtime.errors import Cancelled, ConfigurationError, Problem, RecipeError
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.version import __version__, library_versions

ENTRYPOINT = "python -m transfer_core.pipeline.cluster_job"
# Variables of this process that are limits, or settings of the result, and count in the job as well.
_PASSED = ("SOURCE_DATE_EPOCH", "TRANSFER_OFFLINE")
_PASSED_PREFIX = "TRANSFER_MAX_"
_POLL_S, _STATUS_EVERY_S = 0.25, 1.0
# Seconds for which a head may be away: it is being restarted.
_PATIENCE_S = 120.0
# Losses of a job without an epoch in between.
_MOST_LOSSES = 3


def train(cluster: Cluster, recipe: Recipe, progress: Progress) -> Model:
    """Train by `recipe` on the cluster; the model is in its run folder on this machine when this returns.

    Raises
    ------
    TransferError
        As a training on this machine does; `ConfigurationError` if the cluster can't be used, with the node
        and the remedy.
    """
    check_sources(recipe)
    upkeep(progress)
    with new_run(stored(recipe), library_versions()) as folder:
        return _Run(cluster, folder, recipe.trust, progress).perform(recipe.device)


def resume(cluster: Cluster, name: str, data: Any, trust: bool, progress: Progress) -> Model | None:
    """Follow, or submit again, a run of the cluster; None if `name` is a run of this machine alone.

    Raises
    ------
    TransferError
        As `train` does.
    """
    if not _is_of_cluster(cluster, name):
        return None
    if data is not None:
        raise RecipeError(
            [Problem("data", f"the run {name} is on a cluster, which has its data. Fix: leave it out")]
        )
    folder = find_run(name, trust)
    with old_run(folder):
        if folder.model.exists():
            return open_model_file(folder.model, progress, trust)
        recipe = folder.recipe
        trust = bool(recipe.get("trust"))
        return _Run(cluster, folder, trust, progress).perform(recipe.get("device", "auto"))


def require_engine(name: str) -> None:
    """Raise `ConfigurationError` if the run is on a cluster, and none was given."""
    if ID.fullmatch(name) and (paths.runs() / name / CLUSTER).exists():
        raise ConfigurationError(
            f"the run {name} is on a cluster. Fix: give the cluster's engine and storage (TRANSFER_ENGINE, "
            "TRANSFER_STORAGE)"
        )


def _is_of_cluster(cluster: Cluster, name: str) -> bool:
    """Whether the run is on the cluster; a run that began on another client gets a folder here."""
    if not ID.fullmatch(name):
        return False
    folder = paths.runs() / name
    if os.path.exists(folder / FACTS) or os.path.exists(folder / MODEL):
        return (folder / CLUSTER).exists()
    storage = Storage(cluster.storage)
    if not storage.exists(f"runs/{name}/{FACTS}"):
        return False
    make_directory(folder)
    (folder / CLUSTER).touch()
    return storage.get(f"runs/{name}/{FACTS}", folder / FACTS)


class _Run:
    """A run on a cluster, followed by this process."""

    def __init__(self, cluster: Cluster, folder: RunFolder, trust: bool, progress: Progress) -> None:
        self._server, self._storage = JobServer(cluster.url), Storage(cluster.storage)
        self._cluster, self._folder, self._trust, self._progress = cluster, folder, trust, progress
        self._losses = 0

    def perform(self, device: str) -> Model:
        """Follow the job to its end; submit it if it does not run."""
        self._gpus = 1 if device.startswith("cuda") else 0
        try:
            if self._server.status(self._folder.id) in (None, *ENDED):
                self._submit()
        except Unreachable as error:
            raise ConfigurationError(
                f"{error}. Fix: start it (ray start --head), or correct engine; it is the address of the "
                "dashboard, port 8265 by default"
            ) from None
        outcome = self._follow()
        if "model" not in outcome:
            failure = journal.error_of(outcome, self._folder.id)
            if not isinstance(failure, Cancelled) and not self._storage.exists(self._remote(CHECKPOINT)):
                self._forget()
            raise failure
        if not self._storage.get(self._remote(MODEL), self._folder.model):
            raise ConfigurationError(
                f"the model of the run {self._folder.id} is not in the storage {self._cluster.storage}. Fix: "
                "check that nobody removes files there, and resume the run"
            )
        model = open_model_file(self._folder.model, self._progress, self._trust)
        self._folder.finish()
        return model

    def _submit(self) -> None:
        nonce = token_hex(16)
        self._server.delete(self._folder.id)
        self._storage.remove(self._remote(journal.FILE))
        if not self._storage.exists(self._remote(FACTS)):
            self._storage.put(self._folder.path / FACTS, self._remote(FACTS))
        self._storage.write(self._remote(journal.NONCE), nonce.encode())
        words = [
            self._cluster.storage,
            self._folder.id,
            nonce,
            nodes.code(),
            *(["--trust"] if self._trust else []),
        ]
        env = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED or name.startswith(_PASSED_PREFIX)
        }
        self._server.submit(self._folder.id, f"{ENTRYPOINT} {shlex.join(words)}", env, self._gpus)
        (self._folder.path / CLUSTER).touch()
        self._journal = journal.JournalReader(self._storage, self._remote(journal.FILE))

    def _follow(self) -> dict[str, Any]:
        """Forward the events of the job until it has an outcome."""
        self._journal = journal.JournalReader(self._storage, self._remote(journal.FILE))
        away_since, due = None, 0.0
        while True:
            if self._progress.cancelled():
                self._server.stop(self._folder.id)
                raise Cancelled("cancelled")
            if outcome := self._forwarded():
                return outcome
            time.sleep(_POLL_S)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _STATUS_EVERY_S
            try:
                status = self._server.status(self._folder.id)
                if status in (None, *ENDED) and (outcome := self._forwarded() or self._lost(status)):
                    return outcome
                away_since = None
            except Unreachable as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _PATIENCE_S:
                    raise ConfigurationError(
                        f"{error}. Fix: start it again, and resume the run {self._folder.id}"
                    ) from None

    def _forwarded(self) -> dict[str, Any] | None:
        events, outcome = self._journal.read()
        for event in events:
            if event["event"] == "epoch":
                self._losses = 0
            self._progress.emit(self._local(event))
        return outcome

    def _local(self, event: Event) -> Event:
        """An event with the path of the run on this machine."""
        return {**event, "path": str(self._folder.path)} if event["event"] == "run" else event

    def _lost(self, status: str | None) -> dict[str, Any] | None:
        """The outcome of a job that ended without one; None if it was submitted again."""
        if status == "STOPPED":
            return {"type": "Cancelled"}
        log = self._server.log(self._folder.id) if status else ""
        if printed := _printed_error(log):
            return printed
        self._losses += 1
        if self._losses > _MOST_LOSSES:
            return {
                "type": "ConfigurationError",
                "message": f"the job {self._folder.id} was lost {self._losses} times (the end of its output: "
                f"{log.strip()[-300:]}). Fix: check the nodes of the cluster, and resume the run",
            }
        self._progress.warning(
            "the job was lost with its node: it is submitted again, from its last checkpoint"
        )
        self._submit()
        return None

    def _forget(self) -> None:
        """Remove the traces of a run that can't be resumed."""
        for name in (FACTS, journal.NONCE, journal.FILE):
            self._storage.remove(self._remote(name))
        (self._folder.path / CLUSTER).unlink(missing_ok=True)

    def _remote(self, name: str) -> str:
        return f"runs/{self._folder.id}/{name}"


def _printed_error(log: str) -> dict[str, Any] | None:
    """The error that a job printed since it could not write it into the storage."""
    for line in reversed(log.splitlines()):
        if line.startswith(journal.MARK):
            try:
                found = json.loads(line.removeprefix(journal.MARK))
            except ValueError:
                continue
            return found if isinstance(found, dict) else None
        if "No module named 'transfer_core" in line or "No module named transfer_core" in line:
            return {
                "type": "ConfigurationError",
                "message": f"the head of the cluster has no transfer_core of this version. Fix: install "
                f'"transfer-core[ray]=={__version__}" on every node',
            }
    return None
