"""An ONNX file that is loaded when the first images come."""

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
    """Runs a graph on the thread that calls; several may at the same time.

    Parameters
    ----------
    name
        The graph's name in errors.
    files
        Gives its file, when the first images come.
    trust
        Whether it may take any time.
    """

    def __init__(self, name: str, files: Callable[[], Files], trust: bool) -> None:
        self._name = name
        self._files = files
        self._trust = trust
        self._opening = threading.Lock()
        self._run: Run | None = None
        self._width = 0

    def __call__(self, images: Array) -> Array:
        """(N, 3, H, W) float32 -> (N, D) float32; raises as `open_graph` and `describe` do."""
        with self._opening:
            if self._run is None:
                content = self._files()[FILE]
                # Also of a file in a saved model: it is opened here only if a confined process could do so.
                self._width = describe(content, self._name).interface.width
                self._run = open_graph(content, self._name, self._trust).run
        embeddings = self._run(images)
        if embeddings.shape[1] != self._width:
            found = f"{embeddings.shape[1]} numbers for each image"
            raise ModelFileError(f"{self._name} gives {found}, expected {self._width} as for others")
        return embeddings
