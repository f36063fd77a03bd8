"""One process of TensorFlow, from its start to its end, seen from the process that started it."""

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
# Lines that TensorFlow prints in any case.
_CHATTER = (b"I0000", b"W0000", b"WARNING: All log messages")
_PATIENCE_S = 5.0


class Failed(Exception):
    """The process reported an error of that kind; or none at all, because it died."""

    def __init__(self, kind: str = "", message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """A process that has been started; `greet` waits until it can work.

    Parameters
    ----------
    settings
        See `server.main`.
    """

    interface: Interface

    def __init__(self, settings: dict[str, Any]) -> None:
        # A file without a name is gone with the process.
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
        """Wait for the description, then `interface` has it; raises `Failed`."""
        with deadline(None if self._trust else LOAD_S, self._kill_late):
            answer = self._answer()
        try:
            self.interface = msgspec.convert(answer, Interface)
        except msgspec.ValidationError as error:
            raise Failed("Unusable", f"its description is invalid: {error}") from None

    def ask(self, images: Array) -> Array:
        """(N, H, W, 3) float32 -> (N, D) float32; raises `Failed`."""
        with deadline(None if self._trust else time_limit(len(images)), self._kill_late):
            with suppress(OSError):  # it has ended; perhaps with a message
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
            with suppress(OSError):  # what was not sent yet
                file.close()

    def status(self) -> int:
        """Exit status, if the process ends by itself: -9 for SIGKILL."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_PATIENCE_S)
        return 0

    def last_words(self) -> str:
        """The end of its error output, after a colon; empty if there is none."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_BYTES))
        lines = [line for line in self._errors.read().splitlines() if line and not line.startswith(_CHATTER)]
        return "".join(f"\n  {line.decode(errors='replace')}" for line in lines[-_LAST_LINES:])

    def _answer(self) -> dict[str, Any]:
        try:
            words = read_words(self._from)
        except ValueError as error:
            raise Failed("Unusable", f"its answer is invalid: {error}") from None
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
        "CUDA_VISIBLE_DEVICES": "-1",  # a GPU is left to torch
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(cores()),
    }
