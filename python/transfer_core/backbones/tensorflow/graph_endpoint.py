"""Find the signature of a SavedModel that takes images, and its output that is the embedding.

Imported only in TensorFlow's process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from transfer_core.backbones.image_arrays import Array, as_levels, pooled, run_by
from transfer_core.backbones.tensorflow.graph_cleaning import Untrusted, clean
from transfer_core.backbones.tensorflow.saved_model import GRAPH
from transfer_core.backbones.untrusted import LARGEST_BATCH, LARGEST_SIZE

# TF Hub's names first: features are better than the scores that `default` may output.
_PREFERRED = ("image_feature_vector", "serving_default", "default")
_DTYPES = (tf.float32, tf.uint8)
_FOR_TEXTS = "Texts are for hf/ORG/NAME"


class Unusable(Exception):
    """The SavedModel has no input for images, or no output that is an embedding."""


@dataclass(frozen=True)
class Signature:
    """A callable of the SavedModel."""

    name: str
    inputs: tuple[tf.TensorSpec, ...]
    call: Callable[[tf.Tensor], Any]

    @property
    def images(self) -> tf.TensorSpec | None:
        """The input, if that is one batch of images; else None."""
        match self.inputs:
            case (tf.TensorSpec(dtype=dtype, shape=shape) as only,) if dtype in _DTYPES:
                return only if shape.rank is None or (shape.rank == 4 and shape[3] in (3, None)) else None
        return None

    def __str__(self) -> str:
        inputs = ", ".join(f"{spec.name or 'input'}: {spec.dtype.name} {spec.shape}" for spec in self.inputs)
        return f"{self.name}({inputs})"


@dataclass(frozen=True)
class Endpoint:
    """A loaded SavedModel: `run` maps images (N, H, W, 3), float32 from 0 to 1, to embeddings (N, D)."""

    run: Callable[[Array], Array]
    description: dict[str, Any]


def open_endpoint(folder: Path, size: int) -> Endpoint:
    """Load the SavedModel in `folder`.

    Parameters
    ----------
    folder
        Its directory.
    size
        Side of the images in pixels, if it accepts any.

    Raises
    ------
    Unusable
        With the existing signatures or outputs.
    """
    model = tf.saved_model.load(str(folder), tags=tags_in(folder))
    signature, spec = takes_images(list(signatures(model)))
    batch, side = fixed(signature, spec)
    shape = (batch or 1, side or size, side or size, 3)
    output, width = embedding_output(signature.call(tf.zeros(shape, spec.dtype)))
    run: Callable[[Array], Array] = partial(_run, signature.call, spec.dtype, output)
    described = {"size": side, "levels": spec.dtype == tf.uint8, "width": width}
    return Endpoint(partial(run_by, batch, run) if batch else run, described)


def clean_folder(folder: Path) -> None:
    """Remove the operations that need trust from the SavedModel in `folder`.

    Raises
    ------
    Untrusted
        If it can't be loaded without them.
    Unusable
        If it takes texts only: trust would not help.
    """
    model = SavedModel.FromString((folder / GRAPH).read_bytes())
    try:
        clean(model, tags_in(folder))
    except Untrusted:
        inputs = {tensor.dtype for graph in model.meta_graphs for tensor in _inputs(graph)}
        if inputs == {tf.string.as_datatype_enum}:
            raise Unusable(f"its signatures take texts. {_FOR_TEXTS}") from None
        raise
    (folder / GRAPH).write_bytes(model.SerializeToString())


def _inputs(graph: Any) -> Iterator[Any]:
    for signature in graph.signature_def.values():
        yield from signature.inputs.values()


def tags_in(folder: Path) -> list[str] | None:
    """Tags of the graph to load: empty for a TF Hub module of TensorFlow 1; None if there is one graph."""
    return [] if (folder / "tfhub_module.pb").exists() else None


def signatures(model: Any) -> Iterator[Signature]:
    """The signatures of a model, the preferred ones first, its `__call__` last."""
    known = model.signatures
    first = [name for name in _PREFERRED if name in known]
    for name in (*first, *sorted(set(known) - set(first))):
        inputs = known[name].structured_input_signature[1]
        yield Signature(name, tuple(inputs.values()), partial(_call_with, known[name], tuple(inputs)))
    for function in model.__call__.concrete_functions if callable(model) else ():
        inputs = tf.nest.flatten(function.structured_input_signature)
        yield Signature("__call__", tuple(spec for spec in inputs if isinstance(spec, tf.TensorSpec)), model)


def takes_images(known: list[Signature]) -> tuple[Signature, tf.TensorSpec]:
    """Choose the first signature that takes one batch of images; raises `Unusable`."""
    for signature in known:
        if signature.images is not None:
            return signature, signature.images
    there = "; ".join(map(str, known)) or "none"
    texts = any(spec.dtype == tf.string for signature in known for spec in signature.inputs)
    hint = f". {_FOR_TEXTS}" if texts else ""
    wanted = "one batch of images (N, H, W, 3), float32 or uint8"
    raise Unusable(f"no signature takes only {wanted} (signatures: {there}){hint}")


def fixed(signature: Signature, spec: tf.TensorSpec) -> tuple[int | None, int | None]:
    """The batch size and the image size of a signature; None where it accepts any.

    Raises
    ------
    Unusable
        For images that are not square, and for sizes beyond the limits.
    """
    if spec.shape.rank is None:
        return None, None
    batch, height, width, _ = spec.shape
    if height and width and height != width:
        raise Unusable(f"{signature} takes images of {height} x {width} pixels, only squares are supported")
    if (batch or 1) > LARGEST_BATCH or (height or width or 1) > LARGEST_SIZE:
        limits = f"at most {LARGEST_BATCH} images of at most {LARGEST_SIZE} pixels at a time are supported"
        raise Unusable(f"{signature}: {limits}")
    return batch, height or width


def embedding_output(outputs: Any) -> tuple[str, int]:
    """Choose the output that is the embedding: the only one of floats, or TF Hub's `default`, or the only one
    with two axes; raises `Unusable`.

    Returns
    -------
    name : str
        Of the output.
    width : int
        Numbers per image.
    """
    known = _named(outputs)
    floats = [name for name, value in known.items() if value.dtype.is_floating and 2 <= value.ndim <= 4]
    flat = [name for name in floats if known[name].ndim == 2]
    for choice in (floats, [name for name in floats if name == "default"], flat):
        if len(choice) == 1:
            return choice[0], int(known[choice[0]].shape[-1])
    there = ", ".join(f"{name}: {value.dtype.name} {value.shape}" for name, value in known.items())
    raise Unusable(f"several outputs could be the embedding, or none (outputs: {there or 'none'})")


def _run(call: Callable[[tf.Tensor], Any], dtype: tf.DType, output: str, images: Array) -> Array:
    batch = tf.constant(as_levels(images) if dtype == tf.uint8 else images)
    return pooled(np.asarray(_named(call(batch))[output]), channels_last=True)


def _named(outputs: Any) -> dict[str, Any]:
    """Outputs by name; outputs without a name are numbered."""
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in sorted(outputs.items()) if tf.is_tensor(value)}
    return {f"output_{i}": value for i, value in enumerate(tf.nest.flatten(outputs)) if tf.is_tensor(value)}


def _call_with(function: Any, names: tuple[str, ...], images: tf.Tensor) -> Any:
    return function(**{names[0]: images})
