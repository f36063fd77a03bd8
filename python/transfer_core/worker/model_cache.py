"""The saved models that were used last, kept in memory, and exchanged when their files change.

Who first sees that a file has changed waits for the new model; until it is there, others get the old one.
Where the new file is none, the old model goes on.
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
from transfer_core.worker.settings import model_memory
from transfer_core.worker.turns import TURNS
from transfer_core.worker.warned import Warn, warnings_to

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model_file.signature import PublicKeys

# Tells one version of a file from another: device, inode, time of the last change, size. If a signature is
# demanded also those of its file, and the keys: a model is not answered for keys that did not verify it.
Version: TypeAlias = tuple[object, ...]
Job: TypeAlias = Callable[[], None]


class ModelRef(NamedTuple):
    """A saved model, and the public keys of which one must have signed it; None: no signature is demanded."""

    path: str
    keys: PublicKeys | None = None


@dataclass
class Place:
    """What is known of a reference: which version is in use, which is being read, and which is no model."""

    version: Version | None = None
    loading: Future[Model] | None = None
    failed: tuple[Version | None, BaseException] | None = None


def read_and_prepare(ref: ModelRef) -> Model:
    """A model that is ready for its first input."""
    from transfer_core.model.loading import open_model_file

    _leave_imports_alone()
    model = open_model_file(Path(ref.path), keys=ref.keys)
    model.prepare()
    return model


@cache
def _leave_imports_alone() -> None:
    """What was imported is no garbage: Python need not look through it, and stop all threads for 0.1 s."""
    gc.freeze()


def bytes_of(model: Model) -> int:
    """What a model takes in memory: its weights, and what the network for predictions makes of them."""
    states = model.backbone.state_dict(), model.head.state_dict()
    return 2 * sum(int(tensor.nbytes) for state in states for tensor in state.values())


@dataclass
class ModelCache:
    """At most `limit` bytes of models; the one that was used last stays in any case.

    Who has a model read is warned of what there is to know of it.
    """

    limit: int
    read: Callable[[ModelRef], Any] = read_and_prepare
    size: Callable[[Any], int] = bytes_of
    _places: dict[ModelRef, Place] = field(default_factory=dict)
    _models: OrderedDict[Version, tuple[Model, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, ref: ModelRef, warn: Warn, start: Callable[[Job], None]) -> Model | Future[Model]:
        """The model that `ref` names, or its promise if the caller is to wait for it.

        `start` is given what reads the file, if that is to be done now; `warn` is told what it warns of, and
        if the file is no model, but an earlier version of it is here.
        """
        version = _version(ref)
        mark_used(ref.path)
        with self._lock:
            place = self._places.setdefault(ref, Place())
            if version and version in self._models:
                self._use(place, version)
                return self._models[version][0]
            former = self._models.get(place.version, (None, 0))[0] if place.version else None
            known_bad = place.failed is not None and place.failed[0] == version
            if former and (place.loading or known_bad):
                return former
            if place.loading:
                return place.loading
            promise: Future[Model] = Future()
            place.loading = promise
        try:
            start(lambda: self._load(ref, place, version, former, promise, warn))
        except BaseException as error:  # there may be no thread for it
            with self._lock:
                place.loading = None
                self._forget_unused_places()
            promise.set_exception(error)
            raise
        return promise

    def open(self, ref: ModelRef, warn: Warn) -> Model:
        """The model that `ref` names; this thread reads it if no other has."""
        found = self.find(ref, warn, start=lambda job: job())
        if not isinstance(found, Future):
            return found
        with TURNS.given_up():  # to whoever reads it
            return found.result()

    def reload(self, ref: ModelRef, warn: Warn) -> Model:
        """The model that is in the file now.

        Raises
        ------
        ModelFileError
            If it is none; where there is an earlier version of it, that goes on.
        """
        with self._lock:
            self._places.setdefault(ref, Place()).failed = None
        told: list[str] = []  # of a file that is no model, the error alone
        while True:
            self._wait_for_others(ref)
            model, version = self.open(ref, told.append), _version(ref)
            with self._lock:
                place = self._places.get(ref)
                if place and place.failed:
                    raise place.failed[1]
                if version and model is self._models.get(version, (None, 0))[0]:
                    break
        for message in told:
            warn(message)
        return model

    def stats(self) -> dict[str, Any]:
        """How many models are in memory, and what they take."""
        with self._lock:
            return {"count": len(self._models), "bytes": self._bytes(), "limit": self.limit}

    def _wait_for_others(self, ref: ModelRef) -> None:
        with self._lock:
            place = self._places.get(ref)
            loading = place.loading if place else None
        if loading:
            with TURNS.given_up():
                wait([loading])

    def _load(
        self,
        ref: ModelRef,
        place: Place,
        version: Version | None,
        former: Model | None,
        promise: Future[Model],
        warn: Warn,
    ) -> None:
        try:
            # A network's first weights are drawn from the process's random numbers.
            with TURNS, warnings_to(warn):
                model = self.read(ref)
        except BaseException as error:
            _let_go(error)
            with self._lock:
                place.loading, place.failed = None, (version, error)
                self._forget_unused_places()
            if former is None:
                promise.set_exception(error)
            else:
                warn(f"{error}; the model that was there before goes on")
                promise.set_result(former)
            return
        with self._lock:
            place.loading = place.failed = None
            if version:
                self._models[version] = (model, self.size(model))
                self._use(place, version)
                self._forget_least_used()
        promise.set_result(model)

    def _use(self, place: Place, version: Version) -> None:
        outdated, place.version = place.version, version
        self._models.move_to_end(version)
        if outdated != version and all(other.version != outdated for other in self._places.values()):
            self._models.pop(outdated, None)  # type: ignore[arg-type]

    def _forget_least_used(self) -> None:
        while len(self._models) > 1 and self._bytes() > self.limit:
            self._models.popitem(last=False)
        self._forget_unused_places()

    def _forget_unused_places(self) -> None:
        self._places = {
            ref: place
            for ref, place in self._places.items()
            if place.loading or place.version in self._models
        }

    def _bytes(self) -> int:
        return sum(size for _, size in self._models.values())


def _let_go(error: BaseException | None) -> None:
    """What the frames of a failure hold: the weights of a file that is no model."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@cache
def _models() -> ModelCache:
    return ModelCache(model_memory())


_making = threading.Lock()


def models() -> ModelCache:
    """Those of this process."""
    with _making:
        return _models()


def open_model(ref: ModelRef, warn: Warn) -> Model:
    """One of them, which this thread reads if nobody has."""
    return models().open(ref, warn)


def _version(ref: ModelRef) -> Version | None:
    """None if the file can't be reached."""
    model = _file_version(ref.path)
    if model is None or ref.keys is None:
        return model
    from transfer_core.model_file.signature import (
        SUFFIX,  # takes numpy along, which the handshake must not wait for
    )

    return *model, _file_version(ref.path + SUFFIX), ref.keys


def _file_version(path: str) -> Version | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
