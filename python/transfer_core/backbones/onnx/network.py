"""An ONNX graph as it is run: which input takes the images, which output is the embedding."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from transfer_core.backbones.foreign import Files, Interface
from transfer_core.backbones.image_arrays import Array, Run, as_levels, pooled, run_by
from transfer_core.errors import DependencyError, ModelFileError

FILE = "model.onnx"

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Images:
    """The input that takes images: `batch` of them, `side` pixels long and wide (None: any)."""

    name: str
    type: Any
    channels_last: bool
    batch: int | None
    side: int | None


@dataclass(frozen=True)
class Graph:
    """A graph that can be run: `run` gives the embeddings (N, D) of images (N, 3, H, W), both float32."""

    images: Images
    run: Run
    metadata: dict[str, str]


class OnnxNetwork:
    """Runs a graph on the thread that calls; several may at the same time.

    Parameters
    ----------
    name
        What errors call it.
    files
        Gives its file, when the first images come.
    """

    def __init__(self, name: str, files: Callable[[], Files]) -> None:
        self._name = name
        self._files = files
        self._opening = threading.Lock()
        self._run: Run | None = None

    def __call__(self, images: Array) -> Array:
        """(N, 3, H, W) float32 -> (N, D) float32; raises as `open_graph` does."""
        with self._opening:
            if self._run is None:
                self._run = open_graph(self._files()[FILE], self._name).run
        return self._run(images)


def open_graph(content: bytes, name: str) -> Graph:
    """The graph in a file of ONNX.

    Raises
    ------
    ModelFileError
        If ONNX Runtime can't run it, or with the inputs or outputs that there are.
    DependencyError
        Without ONNX Runtime.
    """
    session = _session(content, name)
    images = image_input(session.get_inputs(), name)
    run: Run = partial(_embed, session, images, embedding_output(session.get_outputs(), name), name)
    if images.batch:
        run = partial(run_by, images.batch, run)
    return Graph(images, run, session.get_modelmeta().custom_metadata_map)


def interface_of(graph: Graph, size: int) -> Interface:
    """What it takes and gives, found out with one image; of `size` pixels where it takes any."""
    side = graph.images.side or size
    embedding = graph.run(np.zeros((1, 3, side, side), np.float32))
    return Interface(graph.images.side, graph.images.type is np.uint8, embedding.shape[1])


def image_input(inputs: Sequence[Any], name: str) -> Images:
    """The only input, if that takes (N, 3, H, W) or (N, H, W, 3)."""
    there = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
    refused = f"{name} takes {there or 'nothing'}, expected images alone, (N, 3, H, W) or (N, H, W, 3)"
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
        raise ModelFileError(f"{refused}, of float or uint8")
    # An axis of any length is None or has a name.
    batch, *places = [length if isinstance(length, int) else None for length in inputs[0].shape]
    if 3 not in (places[0], places[2]):
        raise ModelFileError(f"{refused}: the axis of 3 colours must be known")
    channels_last = places[0] != 3
    sides = {length for length in (places[:2] if channels_last else places[1:]) if length}
    if len(sides) > 1:
        raise ModelFileError(f"{name} takes {there}, but only square images can be made")
    return Images(inputs[0].name, _TYPES[inputs[0].type], channels_last, batch, next(iter(sides), None))


def embedding_output(outputs: Sequence[Any], name: str) -> str:
    """The only output of two axes, or else the last of all: of real numbers, with two to four axes."""
    real = [each for each in outputs if each.type in ("tensor(float)", "tensor(float16)")]
    flat = [each for each in real if len(each.shape) == 2]
    if not real:
        there = ", ".join(f"{each.name}: {each.type}" for each in outputs)
        raise ModelFileError(f"{name} gives {there or 'nothing'}, expected an output of real numbers")
    return str((flat if len(flat) == 1 else real)[-1].name)


def _embed(session: Any, takes: Images, output: str, name: str, images: Array) -> Array:
    values = as_levels(images) if takes.type is np.uint8 else images.astype(takes.type, copy=False)
    if takes.channels_last:
        values = values.transpose(0, 2, 3, 1)
    try:
        (found,) = session.run([output], {takes.name: np.ascontiguousarray(values)})
    except Exception as error:  # ONNX Runtime's own have no base in common
        raise ModelFileError(f"{name} can't be run: {_one_line(error)}") from error
    if found.ndim not in (2, 3, 4) or len(found) != len(images):
        expected = f"{len(images)} rows, as there were images, on two to four axes"
        raise ModelFileError(f"{name} gives {output} as {found.shape}, expected {expected}")
    return pooled(found, takes.channels_last)


def _session(content: bytes, name: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise DependencyError("an .onnx file", "onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    # A batch on each core is faster than one batch on all of them (`features/parallel.py`).
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelFileError(f"{name} can't be loaded: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """What is wrong, without the number that ONNX Runtime puts in front."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
