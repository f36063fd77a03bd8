"""One TensorFlow process, from its start to its end, seen from the process that started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Any

import msgspec

from transfer_core.backbones.foreign_network import Interface
from transfer_core.backbones.image_arrays import Array
from transfer_core.backbones.tensorflow.tensorflow_wire import read_array, read_words, send_array
from transfer_core.backbones.untrusted import LOAD_S, deadline, time_limit
from transfer_core.runtime.devices import cores
from transfer_core.sandbox.environment import confined_environment, own_package

_SERVER = "transfer_core.backbones.tensorflow.tensorflow_server"
_LAST_LINES, _LAST_BYTES = 5, 16_384
# Lines that TensorFlow always prints.
_CHATTER = (b"I0000", b"W0000", b"WARNING: All log messages")
_PATIENCE_S = 5.0


class Failed(Exception):
    """The process reported an error of this kind, or died without one."""

    def __init__(self, kind: str = "", message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """A TensorFlow process; `greet` waits until it is ready.

    Parameters
    ----------
    settings
        See `tensorflow_server.main`.
    """

    interface: Interface

    def __init__(self, settings: dict[str, Any]) -> None:
        # A file without a name is deleted with the process.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._trust = settings["trust"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", _SERVER, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(self._trust),
            cwd="/",  # which Python imports from
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self.late = False

    def greet(self) -> None:
        """Wait until the SavedModel is loaded, and set `interface`; raises `Failed`."""
        with deadline(None if self._trust else LOAD_S, self._kill_late):
            answer = self._answer()
        try:
            self.interface = msgspec.convert(answer, Interface)
        except msgspec.ValidationError as error:
            raise Failed("Unusable", f"its description is invalid: {error}") from None

    def ask(self, images: Array) -> Array:
        """Run a batch, (N, H, W, 3) float32 -> (N, D) float32; raises `Failed`."""
        with deadline(None if self._trust else time_limit(len(images)), self._kill_late):
            with suppress(OSError):  # the process ended; it may have sent an error before
                send_array(self._to, images)
            shape = self._answer().get("shape")
            expected = [len(images), self.interface.width]
            if shape != expected:
                raise Failed("Unusable", f"its output has the shape {shape}, expected {expected}")
            embeddings = read_array(self._from, expected)
        if embeddings is None:
            raise Failed
        return embeddings

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for file in (self._to, self._from, self._errors):
            with suppress(OSError):  # unsent data in the buffer
                file.close()

    def status(self) -> int:
        """Exit status of a process that ended by itself: -9 for SIGKILL."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_PATIENCE_S)
        return 0

    def error_output(self) -> str:
        """The last lines of its standard error, each after a line break; empty if there are none."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_BYTES))
        lines = [line for line in self._errors.read().splitlines() if line and not line.startswith(_CHATTER)]
        return "".join(f"\n  {line.decode(errors='replace')}" for line in lines[-_LAST_LINES:])

    def _answer(self) -> dict[str, Any]:
        try:
            words = read_words(self._from)
        except ValueError as error:
            raise Failed("Unusable", f"its reply is invalid: {error}") from None
        if words is None:
            raise Failed
        if "error" in words:
            raise Failed(str(words["error"]), str(words.get("message")))
        return words

    def _kill_late(self) -> None:
        self.late = True
        self._process.kill()


def _environment(trust: bool) -> dict[str, str]:
    inherited = {**os.environ, **own_package()} if trust else confined_environment()
    return {
        **inherited,
        "CUDA_VISIBLE_DEVICES": "-1",  # the GPU is for torch
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(cores()),
    }
