"""Smaller forms of a network: weights in float16, and static quantization to int8."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transfer_core.backbones.graph import INPUTS
from transfer_core.export.graph_of_model import Parts
from transfer_core.export.session import onnx_runtime
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.features.pixels import load_pixels
from transfer_core.features.tokens import Reader
from transfer_core.runtime.temp_dir import spool_folder

PRECISIONS = ("float32", "float16", "int8")

# Numbers in a tensor below which halving it is not worth a node.
_SMALL = 256


def halved(network: Any) -> Any:
    """The network with weights stored in float16, for calculations in float32; larger weights stay."""
    from onnx import TensorProto
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array, to_array

    casts = []
    for tensor in network.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        weights = to_array(tensor)
        if weights.size < _SMALL or np.abs(weights).max() > np.finfo(np.float16).max:
            continue
        name, half = tensor.name, f"{tensor.name}/half"
        tensor.CopyFrom(from_array(weights.astype(np.float16), half))
        casts.append(make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *network.graph.node]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    return network


def quantized(network: Any, parts: Parts, inputs: Iterable[Any]) -> Any:
    """The network with 8-bit weights per channel and 8-bit activations.

    Parameters
    ----------
    network
        A ModelProto in float32.
    parts
        Its model.
    inputs
        Inputs of the model, on which the ranges of activations are measured.
    """
    import onnx

    onnx_runtime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    feeds = _network_feeds(parts, inputs)

    class Reading(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    logging.getLogger().addFilter(_without_advice)
    try:
        with spool_folder() as folder:
            prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
            quant_pre_process(network, str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(made),
                Reading(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # Products of 8-bit weights overflow on processors without VNNI.
                reduce_range=True,
            )
            return onnx.load(str(made))
    finally:
        logging.getLogger().removeFilter(_without_advice)


def _without_advice(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING


def _network_feeds(parts: Parts, inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    facts = parts.backbone.facts
    name = INPUTS[facts.modality]
    if facts.modality == "image":
        preprocessing = parts.backbone.preprocessing
        import torch

        for input in inputs:
            batch = to_batch([load_pixels(input, preprocessing)])
            yield {name: normalize(batch, preprocessing, torch.float32).contiguous().numpy()}
    else:
        reader = Reader(parts.backbone, parts.recipe.text)
        for windows in reader.windows(list(inputs)):
            for window in windows:
                yield {name: np.asarray(window, np.int32)[None]}
