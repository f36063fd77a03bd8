"""Compare an exported graph with the network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from transfer_core.export.graph_of_model import Parts
from transfer_core.export.session import ExportedSession
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.features.pixels import load_pixels
from transfer_core.features.tokens import Reader
from transfer_core.runtime.errors import ConfigurationError

Array: TypeAlias = npt.NDArray[Any]
# Embeddings (N, D) -> predictions (N, K).
Predict: TypeAlias = Callable[[Array], Array]

# Largest difference of embeddings, as a share of the largest number; int8 is measured on data instead.
_EMBEDDING_ERROR = {"float32": 1e-3, "float16": 0.1}
# Largest difference of predictions from the same embeddings, as a share of the largest or of 1.
_PREDICTION_ERROR = 1e-4


def compare(
    parts: Parts, session: ExportedSession, inputs: Sequence[Any], precision: str, predict: Predict
) -> float:
    """Run a graph on inputs and check its embeddings and predictions.

    Returns
    -------
    float
        The largest difference of embeddings, as a share of their largest number.

    Raises
    ------
    ConfigurationError
        If they differ by more than rounding.
    """
    outputs = [session.run(input) for input in inputs]
    embeddings = np.concatenate([output["embedding"] for output in outputs])
    expected = np.concatenate([reference_embedding(parts, input) for input in inputs])
    error = _relative(embeddings, expected)
    name = parts.header.backbone.name
    if not error <= _EMBEDDING_ERROR.get(precision, np.inf):
        raise ConfigurationError(
            f"{name} can't be exported in {precision}: its embeddings in ONNX Runtime differ by {error:.1%}. "
            "Try: precision float32, or another version of onnxruntime"
        )
    (own,) = {"probabilities", "values"} & outputs[0].keys()
    found = np.concatenate([output[own] for output in outputs])
    difference = _relative(found, predict(embeddings), at_least=1.0)
    if not difference <= _PREDICTION_ERROR:
        raise ConfigurationError(
            f"the head of {name} can't be exported: its predictions in ONNX Runtime differ by "
            f"{difference:.1%}. "
            "Try: another head, such as :linear, or another version of onnxruntime"
        )
    return error


@torch.no_grad()
def reference_embedding(parts: Parts, input: Any) -> Array:
    """The embedding (1, D) of one input by the backbone itself, in float32."""
    backbone = parts.backbone
    if backbone.facts.modality == "image":
        pixels = load_pixels(input, backbone.preprocessing)
        if parts.is_fitted:
            return _numpy(backbone([pixels]))
        return _numpy(backbone(normalize(to_batch([pixels]), backbone.preprocessing, torch.float32)))
    if parts.is_fitted:
        return _numpy(backbone([parts.chain.reader.read(input)]))
    (windows,) = Reader(backbone, parts.recipe.text).windows([input])
    rows = [_numpy(backbone(torch.as_tensor(np.asarray(window))[None])) for window in windows]
    mean: Array = np.concatenate(rows).mean(axis=0, keepdims=True)
    return mean


def _numpy(tensor: Any) -> Array:
    array: Array = np.asarray(tensor, np.float32)
    return array


def _relative(found: Array, expected: Array, at_least: float = 1e-12) -> float:
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), at_least))
