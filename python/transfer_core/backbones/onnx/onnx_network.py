"""An ONNX network that is loaded when it first runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from transfer_core.backbones.foreign_network import Files
from transfer_core.backbones.image_arrays import Array, Run
from transfer_core.backbones.onnx.onnx_description import describe
from transfer_core.backbones.onnx.onnx_graph import open_graph
from transfer_core.runtime.errors import ModelFileError

FILE = "model.onnx"


class OnnxNetwork:
    """Network that runs on the calling thread; several threads may run it at the same time.

    Parameters
    ----------
    name
        Its name in errors.
    files
        Returns its file; called when it first runs.
    trust
        Whether a batch may exceed `untrusted.time_limit`.
    """

    def __init__(self, name: str, files: Callable[[], Files], trust: bool) -> None:
        self._name = name
        self._files = files
        self._trust = trust
        self._opening = threading.Lock()
        self._run: Run | None = None
        self._width = 0

    def __call__(self, images: Array) -> Array:
        """(N, 3, H, W) float32 -> (N, D) float32; raises the errors of `open_graph` and `describe`."""
        with self._opening:
            if self._run is None:
                content = self._files()[FILE]
                # A file in a saved model, too, is opened here only after a confined process could open it.
                self._width = describe(content, self._name).interface.width
                self._run = open_graph(content, self._name, self._trust).run
        embeddings = self._run(images)
        if embeddings.shape[1] != self._width:
            found = f"{embeddings.shape[1]} numbers per image"
            raise ModelFileError(f"{self._name} outputs {found}, expected {self._width} as before")
        return embeddings
