"""LRU cache of loaded models, reloaded when their files change.

The first request after a change waits for the new model; until it is loaded, others get the previous one.
If the new file is missing or invalid, the previous model stays in use.
"""

from __future__ import annotations

import gc
import os
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from transfer_core.model_file.usage import mark_used
from transfer_core.worker.compute_lock import COMPUTE_LOCK
from transfer_core.worker.settings import model_memory
from transfer_core.worker.warning_capture import Warn, forward_warnings

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model_file.signature import PublicKeys

# Identity of a file's version: device, inode, mtime, size. If a signature is required, also that of the
# signature file and the keys: a cached model must not be served for keys that did not verify it.
Version: TypeAlias = tuple[object, ...]
Job: TypeAlias = Callable[[], None]


class ModelRef(NamedTuple):
    """Path of a saved model, and public keys of which one must have signed it; None: no signature needed."""

    path: str
    keys: PublicKeys | None = None


@dataclass
class Entry:
    """Cache entry of a reference: the version in use, the pending load, and the last failed version."""

    version: Version | None = None
    loading: Future[Model] | None = None
    failed: tuple[Version | None, BaseException] | None = None


def read_and_prepare(ref: ModelRef) -> Model:
    """Load a model and warm it up."""
    from transfer_core.model.loading import open_model_file

    _exclude_imports_from_gc()
    model = open_model_file(Path(ref.path), keys=ref.keys)
    model.prepare()
    return model


@cache
def _exclude_imports_from_gc() -> None:
    """Exclude imported modules from garbage collection, which would stop all threads for 0.1 s."""
    gc.freeze()


def memory_of(model: Model) -> int:
    """Memory of a model in bytes: its weights, and their copy in the network optimized for prediction."""
    parts = model.backbone.tensors(), model.head.state_dict()
    return 2 * sum(int(array.nbytes) for part in parts for array in part.values())


@dataclass
class ModelCache:
    """LRU cache of at most `limit` bytes of models; the most recently used one is never evicted.

    Warnings of a load go to the request that triggered it.
    """

    limit: int
    read: Callable[[ModelRef], Any] = read_and_prepare
    size: Callable[[Any], int] = memory_of
    _entries: dict[ModelRef, Entry] = field(default_factory=dict)
    _models: OrderedDict[Version, tuple[Model, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, ref: ModelRef, warn: Warn, start: Callable[[Job], None]) -> Model | Future[Model]:
        """Look up the model of `ref`, or start loading it.

        Parameters
        ----------
        ref
            Path and keys of the saved model.
        warn
            Receives the warnings of the load, and a warning if the previous model stays in use.
        start
            Runs the load; called only if no other thread has started it.

        Returns
        -------
        Model or Future
            The cached model, or the future of the pending load.
        """
        version = _version(ref)
        mark_used(ref.path)
        with self._lock:
            entry = self._entries.setdefault(ref, Entry())
            if version and version in self._models:
                self._use(entry, version)
                return self._models[version][0]
            former = self._models.get(entry.version, (None, 0))[0] if entry.version else None
            known_bad = entry.failed is not None and entry.failed[0] == version
            if former and (entry.loading or known_bad):
                return former
            if entry.loading:
                return entry.loading
            future: Future[Model] = Future()
            entry.loading = future
        try:
            start(lambda: self._load(ref, entry, version, former, future, warn))
        except BaseException as error:  # the system may refuse a thread
            with self._lock:
                entry.loading = None
                self._forget_unused_entries()
            future.set_exception(error)
            raise
        return future

    def open(self, ref: ModelRef, warn: Warn) -> Model:
        """Return the model of `ref`, loading it on this thread unless another thread does."""
        found = self.find(ref, warn, start=lambda job: job())
        if not isinstance(found, Future):
            return found
        with COMPUTE_LOCK.released():  # for the thread that loads it
            return found.result()

    def reload(self, ref: ModelRef, warn: Warn) -> Model:
        """Load the current version of the file, and retry one that failed before.

        Raises
        ------
        ModelFileError
            If the file is missing or invalid; a previous model stays in use.
        """
        with self._lock:
            self._entries.setdefault(ref, Entry()).failed = None
        captured: list[str] = []  # dropped if the load fails: the error alone is reported
        while True:
            self._wait_for_others(ref)
            model, version = self.open(ref, captured.append), _version(ref)
            with self._lock:
                entry = self._entries.get(ref)
                if entry and entry.failed:
                    raise entry.failed[1]
                if version and model is self._models.get(version, (None, 0))[0]:
                    break
        for message in captured:
            warn(message)
        return model

    def stats(self) -> dict[str, Any]:
        """Number and bytes of the models in memory, and the limit."""
        with self._lock:
            return {"count": len(self._models), "bytes": self._bytes(), "limit": self.limit}

    def _wait_for_others(self, ref: ModelRef) -> None:
        with self._lock:
            entry = self._entries.get(ref)
            loading = entry.loading if entry else None
        if loading:
            with COMPUTE_LOCK.released():
                wait([loading])

    def _load(
        self,
        ref: ModelRef,
        entry: Entry,
        version: Version | None,
        former: Model | None,
        future: Future[Model],
        warn: Warn,
    ) -> None:
        try:
            # Initializing a network draws from the global RNG.
            with COMPUTE_LOCK, forward_warnings(warn):
                model = self.read(ref)
        except BaseException as error:
            _clear_frames(error)
            with self._lock:
                entry.loading, entry.failed = None, (version, error)
                self._forget_unused_entries()
            if former is None:
                future.set_exception(error)
            else:
                warn(f"{error}; the previous model stays in use")
                future.set_result(former)
            return
        with self._lock:
            entry.loading = entry.failed = None
            if version:
                self._models[version] = (model, self.size(model))
                self._use(entry, version)
                self._forget_least_used()
        future.set_result(model)

    def _use(self, entry: Entry, version: Version) -> None:
        outdated, entry.version = entry.version, version
        self._models.move_to_end(version)
        if outdated != version and all(other.version != outdated for other in self._entries.values()):
            self._models.pop(outdated, None)  # type: ignore[arg-type]

    def _forget_least_used(self) -> None:
        while len(self._models) > 1 and self._bytes() > self.limit:
            self._models.popitem(last=False)
        self._forget_unused_entries()

    def _forget_unused_entries(self) -> None:
        self._entries = {
            ref: entry
            for ref, entry in self._entries.items()
            if entry.loading or entry.version in self._models
        }

    def _bytes(self) -> int:
        return sum(size for _, size in self._models.values())


def _clear_frames(error: BaseException | None) -> None:
    """Drop the local variables of the traceback: they hold the weights of the invalid file."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@cache
def _models() -> ModelCache:
    return ModelCache(model_memory())


_creation_lock = threading.Lock()


def models() -> ModelCache:
    """The model cache of this process, created on first use."""
    with _creation_lock:
        return _models()


def open_model(ref: ModelRef, warn: Warn) -> Model:
    """Return a model from the cache of this process, loading it if needed."""
    return models().open(ref, warn)


def _version(ref: ModelRef) -> Version | None:
    """Version of a reference; None if the file can't be accessed."""
    model = _file_version(ref.path)
    if model is None or ref.keys is None:
        return model
    from transfer_core.model_file.signature import (
        SUFFIX,  # imports numpy, too slow for the handshake
    )

    return *model, _file_version(ref.path + SUFFIX), ref.keys


def _file_version(path: str) -> Version | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
