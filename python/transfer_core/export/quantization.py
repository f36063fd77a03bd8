"""Static quantization of a network to int8."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.backbones.graph import INPUTS
from transfer_core.export.graph_of_model import Parts
from transfer_core.export.session import bare_session, onnx_runtime
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.features.pixels import load_pixels
from transfer_core.features.tokens import Reader
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder

Array: TypeAlias = npt.NDArray[Any]

# Share of the average variance that pulls a corrected slope towards 1, as few examples don't determine it.
_SHRINKAGE = 0.1


def quantized(network: Any, parts: Parts, inputs: Sequence[Any], progress: Progress) -> Any:
    """The network with 8-bit weights per channel and 8-bit activations, whose embeddings are then scaled and
    shifted to those of the network.

    Parameters
    ----------
    network
        A ModelProto in float32.
    parts
        Its model.
    inputs
        Inputs of the model, on which the ranges of activations and the scaling are measured.
    progress
        Receives events, and cancels.
    """
    many = parts.header.modality + "s"
    feeds = list(progress.track(_feeds(parts, inputs), "evaluate", len(inputs), many))
    with spool_folder() as folder:
        coarse = _statically_quantized(network, iter(feeds), folder)
    found, expected = (_embeddings(model, feeds) for model in (coarse, network))
    return _scaled(coarse, *_correction(found, expected))


def _statically_quantized(network: Any, feeds: Iterator[dict[str, Array]], folder: Path) -> Any:
    import onnx

    onnx_runtime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reading(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            return next(feeds, None)

    # As files: a model in memory would be changed.
    given, prepared, made = (str(folder / f"{name}.onnx") for name in ("given", "prepared", "made"))
    onnx.save(network, given)
    logger = logging.getLogger()
    logger.addFilter(_is_error)
    try:
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            Reading(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Without it, sums of products overflow on processors without VNNI.
            reduce_range=True,
            # A single outlier would widen the range of all other values.
            extra_options={"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05},
        )
        return onnx.load(made)
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING


def _feeds(parts: Parts, inputs: Iterable[Any]) -> Iterator[dict[str, Array]]:
    """Inputs of the network, one example each."""
    facts = parts.backbone.facts
    name = INPUTS[facts.modality]
    if facts.modality == "image":
        import torch

        for input in inputs:
            batch = to_batch([load_pixels(input, parts.backbone.preprocessing)])
            yield {
                name: np.asarray(normalize(batch, parts.backbone.preprocessing, torch.float32).contiguous())
            }
    else:
        for windows in Reader(parts.backbone, parts.recipe.text).windows(list(inputs)):
            yield from ({name: np.asarray(window, np.int32)[None]} for window in windows)


def _embeddings(network: Any, feeds: Sequence[dict[str, Array]]) -> Array:
    session = bare_session(network.SerializeToString())
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def _correction(found: Array, expected: Array) -> tuple[Array, Array]:
    """Scale and shift (D,) of the regression of `expected` on `found` (N, D), per column."""
    mean, target = found.mean(axis=0), expected.mean(axis=0)
    deviation = found - mean
    variance = np.square(deviation).mean(axis=0)
    covariance = (deviation * (expected - target)).mean(axis=0)
    pull = _SHRINKAGE * variance.mean() + 1e-12
    scale = (covariance + pull) / (variance + pull)
    return scale.astype(np.float32), (target - scale * mean).astype(np.float32)


def _scaled(network: Any, scale: Array, shift: Array) -> Any:
    """Add scaling and shifting of the output to a network."""
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array

    graph = network.graph
    output = graph.output[0].name
    names = {part: f"{output}/{part}" for part in ("scale", "shift", "scaled", "corrected")}
    arrays = ((scale, names["scale"]), (shift, names["shift"]))
    graph.initializer.extend(from_array(array, name) for array, name in arrays)
    graph.node.append(make_node("Mul", [output, names["scale"]], [names["scaled"]]))
    graph.node.append(make_node("Add", [names["scaled"], names["shift"]], [names["corrected"]]))
    graph.output[0].name = names["corrected"]
    return network
