"""One process of TensorFlow, from its start to its end, seen from the process that started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfer_core.backbones.image_arrays import Array
from transfer_core.backbones.tensorflow.wire import read_array, read_words, send_array
from transfer_core.devices import cores

_SERVER = "transfer_core.backbones.tensorflow.server"
_LAST_LINES, _LAST_BYTES = 5, 16_384
# What TensorFlow prints in any case.
_CHATTER = (b"I0000", b"W0000", b"WARNING: All log messages")
_PATIENCE_S = 5.0


class Failed(Exception):
    """The process gave an error of that kind; or none at all, because it died."""

    def __init__(self, kind: str = "", message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """A process that has been started; `greet` waits until it can work."""

    def __init__(self, settings: dict[str, Any]) -> None:
        # A file without a name needs nobody who reads along, and is gone with the process.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", _SERVER, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **_environment()},
            cwd="/",  # which Python imports from
            start_new_session=True,  # Ctrl-C is not meant for it
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self.description: dict[str, Any] = {}

    def greet(self) -> None:
        """Wait for the description; raises `Failed`."""
        self.description = self._answer()

    def ask(self, images: Array) -> Array:
        """(N, H, W, 3) float32 -> (N, D) float32; raises `Failed`."""
        with suppress(OSError):  # it has ended; perhaps it said why
            send_array(self._to, images)
        embeddings = read_array(self._from, self._answer()["shape"])
        if embeddings is None:
            raise Failed
        return embeddings

    def end(self) -> None:
        """Nothing that it does matters any more."""
        self._process.kill()
        self._process.wait()
        for file in (self._to, self._from, self._errors):
            with suppress(OSError):  # what was not sent yet
                file.close()

    def status(self) -> int:
        """How it ended, if it does so by itself: -9 for SIGKILL."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_PATIENCE_S)
        return 0

    def last_words(self) -> str:
        """The end of what it printed, after a colon; empty if it printed nothing."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_BYTES))
        lines = [line for line in self._errors.read().splitlines() if line and not line.startswith(_CHATTER)]
        return "".join(f"\n  {line.decode(errors='replace')}" for line in lines[-_LAST_LINES:])

    def _answer(self) -> dict[str, Any]:
        words = read_words(self._from)
        if words is None:
            raise Failed
        if "error" in words:
            raise Failed(words["error"], words["message"])
        return words


def _environment() -> dict[str, str]:
    """It finds this package wherever it is started, and leaves a GPU to torch."""
    ours = str(Path(__file__).parents[3])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in (ours, *inherited) if folder),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(cores()),
    }
