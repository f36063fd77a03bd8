"""Entry point of a job on a Ray cluster: `python -m … STORAGE RUN NONCE CODE [--trust]`.

Works in a temporary run folder, whose recipe and checkpoint come from the shared storage, and which is copied
there as it changes. The process may be killed at any time: the next job continues from the checkpoint.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from transfer_core.distributed import nodes
from transfer_core.distributed.journal import FILE, MARK, NONCE, JournalWriter, outcome_of
from transfer_core.distributed.storage import Storage
from transfer_core.runs.folder import CHECKPOINT, FACTS, MODEL, RunFolder
from transfer_core.runtime import measurements, paths
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Progress

# What all jobs of a storage measured: another head makes the same choices.
_MEASUREMENTS = "measurements.json"


def main(location: str, run: str, nonce: str, code: str, trust: bool) -> None:
    """Run or resume `run`; its events, checkpoint and model are in the storage.

    Parameters
    ----------
    location
        The shared storage.
    run
        The id of the run.
    nonce
        Content of a file that the client wrote there.
    code
        Version and digest of the client's code.
    trust
        Whether code that the recipe names may run.
    """
    stopped = Event()
    nodes.require_same_code(code, "the head of the cluster")
    storage = Storage(location)
    nodes.require_shared(storage, f"runs/{run}/{NONCE}", nonce, "the head of the cluster")
    ray = nodes.import_ray()
    ray.init(address="auto", log_to_driver=False, configure_logging=False)
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    checks = nodes.begin_checks(location, f"runs/{run}/{NONCE}", nonce, code)
    with _folder_of(storage, run, trust) as folder:
        journal = JournalWriter(storage, f"runs/{run}/{FILE}", _Copies(storage, folder))
        try:
            with journal:
                _train(folder, storage, checks, Progress(journal.emit, stopped.is_set))
        except BaseException as error:
            journal.write(outcome_of(Cancelled("cancelled") if isinstance(error, SystemExit) else error))
            raise
        storage.put(folder.model, f"runs/{run}/{MODEL}")
        journal.write({"model": True})
        storage.remove(f"runs/{run}/{CHECKPOINT}")


def _train(folder: RunFolder, storage: Storage, checks: dict[Any, str], progress: Progress) -> None:
    # Imported while the nodes are checked.
    from transfer_core.distributed.embedding import on_cluster
    from transfer_core.pipeline import five_steps
    from transfer_core.pipeline.search import search
    from transfer_core.pipeline.training import is_search
    from transfer_core.runs import old_run
    from transfer_core.runs.resume_check import stored_recipe

    nodes.end_checks(checks)
    with old_run(folder), on_cluster(storage):
        recipe = stored_recipe(folder, None)
        if not is_search(recipe):
            five_steps.run_in(folder, recipe, {}, progress)
            return
        model = search(recipe, {}, progress)
        shutil.copyfile(model.path, folder.model)


@contextmanager
def _folder_of(storage: Storage, run: str, trust: bool) -> Iterator[RunFolder]:
    """A temporary run folder with what the storage has of the run."""
    if known := storage.read(_MEASUREMENTS):
        measurements.adopt(known)
    with tempfile.TemporaryDirectory(prefix="transfer-") as parent:
        folder = RunFolder(Path(parent) / run, trust)
        make_directory(folder.path)
        for name in (FACTS, CHECKPOINT):
            storage.get(f"runs/{run}/{name}", folder.path / name)
        yield folder


class _Copies:
    """Copies changed files of the run folder to the storage."""

    def __init__(self, storage: Storage, folder: RunFolder) -> None:
        self._storage = storage
        self._files = {
            folder.checkpoint: f"runs/{folder.id}/{CHECKPOINT}",
            folder.path / FACTS: f"runs/{folder.id}/{FACTS}",
            paths.cache() / "measurements.json": _MEASUREMENTS,
        }
        self._copied = {folder.checkpoint: _changed_at(folder.checkpoint)}

    def __call__(self) -> None:
        for path, name in self._files.items():
            changed_at = _changed_at(path)
            if changed_at and changed_at != self._copied.get(path):
                self._storage.put(path, name)
                self._copied[path] = changed_at


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


if __name__ == "__main__":
    storage, run, nonce, code = sys.argv[1:5]
    try:
        main(storage, run, nonce, code, trust=sys.argv[5:] == ["--trust"])
    except Exception as failure:
        print(MARK + json.dumps(outcome_of(failure)), flush=True)
        raise
