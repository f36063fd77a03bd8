"""A SavedModel that runs in a separate TensorFlow process, which lives as long as a reference to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar
from weakref import WeakValueDictionary, finalize

from transfer_core.backbones.foreign_network import Files, Interface
from transfer_core.backbones.image_arrays import Array
from transfer_core.backbones.tensorflow.saved_model import write_files
from transfer_core.backbones.tensorflow.tensorflow_child import Child, Failed
from transfer_core.backbones.untrusted import MEMORY_SHARE
from transfer_core.runtime.errors import (
    ConfigurationError,
    ModelFileError,
    OutOfMemory,
    Problem,
    RecipeError,
    TransferError,
)
from transfer_core.runtime.machine_memory import machine_memory
from transfer_core.runtime.temp_dir import spool_folder

T = TypeVar("T")

_MEMORY_ERRORS = ("ResourceExhaustedError", "MemoryError")


class TensorFlowProcess:
    """TensorFlow process of one SavedModel, started at the first call and restarted after a crash.

    Parameters
    ----------
    name
        Name of the SavedModel in errors.
    files
        Returns its files, which are in a private directory while TensorFlow loads them.
    size
        Side of the images in pixels, if it accepts any.
    trust
        Whether its graph may contain any operation, with the rights of this user; otherwise it is reduced to
        the allowlist and runs in a confined process.
    """

    def __init__(self, name: str, files: Callable[[], Files], size: int, trust: bool) -> None:
        self._name = name
        self._files = files
        self._size = size
        self._trust = trust
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._end: Callable[[], Any]

    def __call__(self, images: Array) -> Array:
        """Run a batch, (N, 3, H, W) float32 from 0 to 1 -> (N, D) float32; one at a time.

        Raises
        ------
        ModelFileError
            If TensorFlow can't load or run it.
        RecipeError
            At `trust`.
        OutOfMemory, ConfigurationError
            If the process died; the next call starts another.
        """
        return self._with_child(lambda child: child.ask(images.transpose(0, 2, 3, 1)))

    def interface(self) -> Interface:
        """Input and output of the SavedModel; raises the errors of a call."""
        return self._with_child(lambda child: child.interface)

    def _with_child(self, work: Callable[[Child], T]) -> T:
        with self._lock, ExitStack() as failing:
            # A late reply to this call would be taken for the reply to the next one.
            failing.callback(self._forget)
            try:
                result = work(self._child or self._start())
            except Failed as failed:
                raise self._error(failed) from None
            failing.pop_all()
            return result

    def _start(self) -> Child:
        try:
            with spool_folder() as folder:
                model = folder / "model"
                write_files(self._files(), model)
                memory = int(machine_memory()[1] * MEMORY_SHARE)
                settings = {"folder": str(model), "size": self._size, "trust": self._trust, "memory": memory}
                self._child = Child(settings)
                self._end = finalize(self, self._child.end)
                self._child.greet()
                return self._child
        except OSError as error:
            raise ConfigurationError(f"can't start TensorFlow's process for {self._name}: {error}") from error

    def _forget(self) -> None:
        if self._child:
            self._child = None
            self._end()

    def _error(self, failed: Failed) -> TransferError:
        assert self._child
        if failed.kind == "Untrusted":
            message = (
                f"{self._name} needs operations that don't run without trust: {failed}. Fix: `trust: true` "
                "runs them with your rights; pass it only if you trust the publisher"
            )
            return RecipeError([Problem("trust", message)])
        if self._child.late:
            return ModelFileError(
                f"{self._name} can't be used: it exceeded the time limit without trust. Fix: `trust: true` "
                "lifts the limit; pass it only if you trust the publisher"
            )
        if failed.kind in _MEMORY_ERRORS:
            return OutOfMemory(f"{self._name} needs more memory than is free here: {failed}")
        if failed.kind:
            return ModelFileError(f"{self._name} can't be used: {failed}")
        status = self._child.status()
        if status == -signal.SIGKILL:
            return OutOfMemory(
                f"TensorFlow's process was killed while it ran {self._name}, most likely because memory ran "
                "out; the next call starts another"
            )
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return ConfigurationError(
            f"TensorFlow's process ended {how} while it ran {self._name}{self._child.error_output()}"
        )


_processes: WeakValueDictionary[tuple[Any, ...], TensorFlowProcess] = WeakValueDictionary()
_looking = threading.Lock()


def process_for(
    name: str, digest: str, files: Callable[[], Files], size: int, trust: bool
) -> TensorFlowProcess:
    """The process of the SavedModel with this digest, shared by all models that use it.

    Parameters
    ----------
    name, files, size, trust
        See `TensorFlowProcess`.
    digest
        Of the files' contents.
    """
    key = (name, digest, size, trust)
    with _looking:
        process = _processes.get(key)
        if process is None:
            _processes[key] = process = TensorFlowProcess(name, files, size, trust)
        return process
