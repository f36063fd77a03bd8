"""An ONNX graph as a feature extractor of images; no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from transfer_core.backbones.image_arrays import Array, Run, as_levels, pooled, run_by
from transfer_core.backbones.onnx.onnx_session import Session
from transfer_core.backbones.untrusted import LARGEST_BATCH, LARGEST_SIZE
from transfer_core.runtime.errors import ModelFileError

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class Images:
    """The input of the graph: `batch` images of `side` pixels (None: any)."""

    name: str
    type: Any
    channels_last: bool
    batch: int | None
    side: int | None


@dataclass(frozen=True)
class Graph:
    """A graph ready to run: `run` maps images (N, 3, H, W) to embeddings (N, D), both float32."""

    images: Images
    run: Run
    metadata: dict[str, str]


def open_graph(content: bytes, name: str, trust: bool = False) -> Graph:
    """Load a graph.

    Parameters
    ----------
    content
        An ONNX file with all its tensors.
    name
        Its name in errors.
    trust
        Whether a batch may exceed `untrusted.time_limit`.

    Raises
    ------
    ModelFileError
        If ONNX Runtime can't load it; if its inputs or outputs are not supported.
    DependencyError
        If ONNX Runtime is not installed.
    """
    session = Session(content, name, trust)
    images = image_input(session.inputs, name)
    run: Run = partial(_embed, session, images, embedding_output(session.outputs, name), name)
    if images.batch:
        run = partial(run_by, images.batch, run)
    return Graph(images, run, session.metadata)


def image_input(inputs: Sequence[Any], name: str) -> Images:
    """Check that images (N, 3, H, W) or (N, H, W, 3) are the only input; raises `ModelFileError`."""
    there = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
    refused = f"{name} takes {there or 'no input'}, expected one input (N, 3, H, W) or (N, H, W, 3)"
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
        raise ModelFileError(f"{refused}, of float or uint8")
    # An axis of any length is None or has a name.
    batch, *places = [length if isinstance(length, int) else None for length in inputs[0].shape]
    if 3 not in (places[0], places[2]):
        raise ModelFileError(f"{refused}: the axis of the 3 channels must be fixed")
    channels_last = places[0] != 3
    sides = {length for length in (places[:2] if channels_last else places[1:]) if length}
    if len(sides) > 1:
        raise ModelFileError(f"{name} takes {there}, but only square images are supported")
    if (batch or 1) > LARGEST_BATCH or max(sides, default=1) > LARGEST_SIZE:
        limits = f"at most {LARGEST_BATCH} images of at most {LARGEST_SIZE} pixels at a time are supported"
        raise ModelFileError(f"{name} takes {there}: {limits}")
    return Images(inputs[0].name, _TYPES[inputs[0].type], channels_last, batch, next(iter(sides), None))


def embedding_output(outputs: Sequence[Any], name: str) -> str:
    """The name of the only output of floats with two axes, or else of the last output of floats."""
    real = [each for each in outputs if each.type in ("tensor(float)", "tensor(float16)")]
    flat = [each for each in real if len(each.shape) == 2]
    if not real:
        there = ", ".join(f"{each.name}: {each.type}" for each in outputs)
        raise ModelFileError(f"{name} outputs {there or 'nothing'}, expected an output of floats")
    return str((flat if len(flat) == 1 else real)[-1].name)


def _embed(session: Session, takes: Images, output: str, name: str, images: Array) -> Array:
    values = as_levels(images) if takes.type is np.uint8 else images.astype(takes.type, copy=False)
    if takes.channels_last:
        values = values.transpose(0, 2, 3, 1)
    found = session.run(output, {takes.name: np.ascontiguousarray(values)}, len(images))
    if found.ndim not in (2, 3, 4) or len(found) != len(images):
        expected = f"a row for each of {len(images)} images, with two to four axes"
        raise ModelFileError(f"{name} outputs {output} of shape {found.shape}, expected {expected}")
    return pooled(found, takes.channels_last)
