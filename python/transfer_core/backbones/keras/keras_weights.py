"""Convert Keras' variables to the tensors of torch's modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.backbones.keras.keras_graph import Config, Node

Array: TypeAlias = npt.NDArray[Any]
# Tensors by the suffix after the layer's name: `.weight`, `_depthwise.weight`.
Tensors: TypeAlias = dict[str, Array]

# Keras' lower limit of the standard deviation.
EPSILON = 1e-7


def tensors(node: Node, variables: Mapping[str, Array]) -> Tensors:
    """Make the tensors of a layer's modules from its variables (by Keras' names) and its settings."""
    make = _MAKERS.get(node.kind)
    return make(node.config, variables) if make else {}


def constants(node: Node) -> Tensors:
    """Make the tensors that depend on a layer's settings alone."""
    known = node.kind == "Rescaling" or (node.kind == "Normalization" and node.config["mean"] is not None)
    return tensors(node, {}) if known else {}


def _convolution(config: Config, variables: Mapping[str, Array]) -> Tensors:
    return {".weight": _outputs_first(variables["kernel"]), **_bias(variables)}


def _depthwise(config: Config, variables: Mapping[str, Array]) -> Tensors:
    return {".weight": _per_channel(variables["kernel"]), **_bias(variables)}


def _separable(config: Config, variables: Mapping[str, Array]) -> Tensors:
    return {
        "_depthwise.weight": _per_channel(variables["depthwise_kernel"]),
        ".weight": _outputs_first(variables["pointwise_kernel"]),
        **_bias(variables),
    }


def _dense(config: Config, variables: Mapping[str, Array]) -> Tensors:
    return {".weight": variables["kernel"].T, **_bias(variables)}


def _norm(config: Config, variables: Mapping[str, Array]) -> Tensors:
    """Weights of a norm; without `gamma` or `beta`, the module keeps its ones or zeros."""
    return {_OF_NORMS[name]: value for name, value in variables.items() if name in _OF_NORMS}


def _layer_scale(config: Config, variables: Mapping[str, Array]) -> Tensors:
    (gamma,) = variables.values()
    return {".gamma": gamma}


def _rescaling(config: Config, variables: Mapping[str, Array]) -> Tensors:
    return {".scale": np.asarray(config["scale"], float), ".offset": np.asarray(config["offset"], float)}


def _normalization(config: Config, variables: Mapping[str, Array]) -> Tensors:
    is_set = config["mean"] is not None
    mean = np.asarray(config["mean"] if is_set else variables["mean"], float)
    variance = np.asarray(config["variance"] if is_set else variables["variance"], float)
    scale = 1 / np.maximum(np.sqrt(variance), EPSILON)
    return {".scale": scale, ".offset": -mean * scale}


_OF_NORMS = {
    "gamma": ".weight",
    "beta": ".bias",
    "moving_mean": ".running_mean",
    "moving_variance": ".running_var",
}


def _outputs_first(kernel: Array) -> Array:
    """(H, W, in, out) -> (out, in, H, W)."""
    return kernel.transpose(3, 2, 0, 1)


def _per_channel(kernel: Array) -> Array:
    """(H, W, C, multiplier) -> (C * multiplier, 1, H, W)."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _bias(variables: Mapping[str, Array]) -> Tensors:
    return {".bias": variables["bias"]} if "bias" in variables else {}


_MAKERS: dict[str, Callable[[Config, Mapping[str, Array]], Tensors]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _norm,
    "LayerNormalization": _norm,
    "GroupNormalization": _norm,
    "LayerScale": _layer_scale,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
}
