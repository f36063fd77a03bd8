"""Weights of a network in float16."""

from __future__ import annotations

from typing import Any

import numpy as np

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
