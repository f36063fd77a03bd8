"""Convert Keras' layers to equivalent torch modules, for images as (N, C, H, W) instead of (N, H, W, C).

Tensors of other ranks have Keras' layout. Other layers are run by Keras itself (`keras_computed_layer`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Size, nn

from transfer_core.backbones.keras import keras_modules
from transfer_core.backbones.keras.keras_geometry import is_last, padding, pooling, space
from transfer_core.backbones.keras.keras_graph import DROPOUTS, Config, Node, Slot
from transfer_core.backbones.keras.keras_merges import of_several, with_a_number
from transfer_core.backbones.quick_import import without_compiler

with without_compiler("torchvision"):
    from torchvision.ops import StochasticDepth

# A layer as a sequence of modules, by suffixes of its name; the module with its weights has an empty suffix.
Steps: TypeAlias = dict[str, nn.Module]
Maker: TypeAlias = Callable[[Config, Size], nn.Module | Steps | None]

_MAKERS: dict[str, Maker] = {}


def counterpart(node: Node, shapes: Sequence[Size]) -> Steps | None:
    """Convert a node with inputs of these shapes to modules; None if torch has no counterpart."""
    made: nn.Module | Steps | None
    if node.kind in _MAKERS and node.args == (Slot(0),):
        made = _MAKERS[node.kind](node.config, shapes[0])
    else:
        made = of_several(node, shapes) if len(node.inputs) > 1 else with_a_number(node)
    return {"": made} if isinstance(made, nn.Module) else made


def activation(setting: Any) -> nn.Module | None:
    """Convert a layer's setting `activation`; None if torch has no counterpart."""
    if isinstance(setting, dict) and setting.get("class_name") == "function":
        setting = setting["config"]
    make = (
        _ACTIVATIONS.get(str(setting or "linear").replace("_", "")) if not isinstance(setting, dict) else None
    )
    return make() if make else None


def _maker(*kinds: str) -> Callable[[Maker], Maker]:
    """Register a function for these kinds of layers."""

    def register(function: Maker) -> Maker:
        _MAKERS.update(dict.fromkeys(kinds, function))
        return function

    return register


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": lambda: nn.ReLU(inplace=False),
    "relu6": nn.ReLU6,
    "leakyrelu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "hardsilu": nn.Hardswish,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}


# Layers with weights.


@_maker("Conv2D")
def _conv(config: Config, shape: Size) -> Steps | None:
    return _convolution(config, shape, config["filters"], config["groups"])


@_maker("DepthwiseConv2D")
def _depthwise(config: Config, shape: Size) -> Steps | None:
    return _convolution(config, shape, shape[1] * config["depth_multiplier"], shape[1])


@_maker("SeparableConv2D")
def _separable(config: Config, shape: Size) -> Steps | None:
    between = {**config, "use_bias": False, "activation": "linear"}
    depthwise = _convolution(between, shape, shape[1] * config["depth_multiplier"], shape[1])
    end = activation(config["activation"])
    if depthwise is None or end is None:
        return None
    wide = shape[1] * config["depth_multiplier"]
    pointwise = nn.Conv2d(wide, config["filters"], 1, bias=config["use_bias"])
    depthwise["_depthwise"] = depthwise.pop("")
    return _with_activation({**depthwise, "": pointwise}, end)


def _convolution(config: Config, shape: Size, filters: int, groups: int) -> Steps | None:
    end = activation(config["activation"])
    if len(shape) != 4 or end is None:
        return None
    kernel, stride, dilation = config["kernel_size"], config["strides"], config["dilation_rate"]
    before, after = padding(config["padding"], shape, kernel, stride, dilation)
    even = before == after
    convolution = nn.Conv2d(
        shape[1],
        filters,
        tuple(kernel),
        tuple(stride),
        (before[0], before[1]) if even else (0, 0),
        tuple(dilation),
        groups,
        bias=config["use_bias"],
    )
    pad = {} if even else {"_pad": nn.ZeroPad2d((before[1], after[1], before[0], after[0]))}
    return _with_activation({**pad, "": convolution}, end)


@_maker("Dense")
def _dense(config: Config, shape: Size) -> Steps | None:
    end = activation(config["activation"])
    if end is None:
        return None
    if len(shape) == 4:  # Keras' dense layer acts on the last axis, the channels
        dense: nn.Module = nn.Conv2d(shape[1], config["units"], 1, bias=config["use_bias"])
    else:
        dense = nn.Linear(shape[-1], config["units"], bias=config["use_bias"])
    return _with_activation({"": dense}, end)


@_maker("BatchNormalization")
def _batch_norm(config: Config, shape: Size) -> nn.Module | None:
    if not is_last(config["axis"], shape) or len(shape) == 3 or config.get("renorm"):
        return None
    norm = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    made: nn.Module = norm(shape[1], eps=config["epsilon"])
    return made


@_maker("LayerNormalization")
def _layer_norm(config: Config, shape: Size) -> nn.Module | None:
    if not is_last(config["axis"], shape) or config.get("rms_scaling"):
        return None
    if len(shape) == 4:
        return keras_modules.ChannelNorm(shape[1], eps=config["epsilon"])
    return nn.LayerNorm(shape[-1], eps=config["epsilon"])


@_maker("GroupNormalization")
def _group_norm(config: Config, shape: Size) -> nn.Module | None:
    if not is_last(config["axis"], shape) or len(shape) != 4:
        return None
    groups = shape[1] if config["groups"] == -1 else config["groups"]
    return nn.GroupNorm(groups, shape[1], eps=config["epsilon"])


@_maker("Rescaling")
def _rescaling(config: Config, shape: Size) -> nn.Module | None:
    return keras_modules.Affine(shape)


@_maker("Normalization")
def _normalization(config: Config, shape: Size) -> nn.Module | None:
    axes = config["axis"] if isinstance(config["axis"], list) else [config["axis"]]
    known = not config["invert"] and (not axes or is_last(axes, shape))
    return keras_modules.Affine(shape) if known else None


@_maker("LayerScale")
def _layer_scale(config: Config, shape: Size) -> nn.Module | None:
    return keras_modules.LayerScale(shape)


def _with_activation(steps: Steps, end: nn.Module) -> Steps:
    return steps if isinstance(end, nn.Identity) else {**steps, "_activation": end}


# Layers without weights.


@_maker("Activation")
def _activation(config: Config, shape: Size) -> nn.Module | None:
    return activation(config["activation"])


@_maker("ReLU")
def _relu(config: Config, shape: Size) -> nn.Module | None:
    if config.get("threshold") or config.get("negative_slope"):
        return None
    most = config.get("max_value")
    if most is None:
        return nn.ReLU()
    return nn.ReLU6() if most == 6 else nn.Hardtanh(0.0, most)


@_maker("LeakyReLU")
def _leaky_relu(config: Config, shape: Size) -> nn.Module | None:
    return nn.LeakyReLU(config["negative_slope"])


@_maker("ELU")
def _elu(config: Config, shape: Size) -> nn.Module | None:
    return nn.ELU(config["alpha"])


@_maker("Dropout")
def _dropout(config: Config, shape: Size) -> nn.Module | None:
    noise = config.get("noise_shape")
    if noise is None:
        return nn.Dropout(config["rate"])
    whole_examples = all(size == 1 for size in noise[1:])
    return _dropped_paths(config["rate"]) if whole_examples else nn.Identity()


@_maker("StochasticDepth")
def _stochastic_depth(config: Config, shape: Size) -> nn.Module | None:
    return _dropped_paths(config["drop_path_rate"])


def _dropped_paths(rate: float) -> nn.Module:
    paths: nn.Module = StochasticDepth(rate, "row")
    return paths


@_maker(
    *("Identity", "ActivityRegularization", *(kind for kind in DROPOUTS if kind != "Dropout")),
    *("RandomBrightness", "RandomColorJitter", "RandomContrast", "RandomErasing", "RandomFlip", "RandomHue"),
    *("RandomRotation", "RandomSaturation", "RandomShear", "RandomTranslation", "RandomZoom"),
)
def _nothing(config: Config, shape: Size) -> nn.Module | None:
    """Layers that act only in Keras' training; ours has `augment` and the head's dropout."""
    return nn.Identity()


@_maker("ZeroPadding2D")
def _zero_padding(config: Config, shape: Size) -> nn.Module | None:
    (top, bottom), (left, right) = config["padding"]
    return nn.ZeroPad2d((left, right, top, bottom))


@_maker("Cropping2D")
def _cropping(config: Config, shape: Size) -> nn.Module | None:
    (top, bottom), (left, right) = config["cropping"]
    return nn.ZeroPad2d((-left, -right, -top, -bottom))


@_maker("MaxPooling2D")
def _max_pooling(config: Config, shape: Size) -> nn.Module | None:
    geometry = pooling(config, shape)
    return nn.MaxPool2d(**geometry) if geometry else None


@_maker("AveragePooling2D")
def _average_pooling(config: Config, shape: Size) -> nn.Module | None:
    geometry = pooling(config, shape)
    return nn.AvgPool2d(**geometry, count_include_pad=False) if geometry else None


@_maker("GlobalAveragePooling1D", "GlobalAveragePooling2D")
def _global_average(config: Config, shape: Size) -> nn.Module | None:
    return keras_modules.Average(space(shape), config["keepdims"])


@_maker("GlobalMaxPooling1D", "GlobalMaxPooling2D")
def _global_maximum(config: Config, shape: Size) -> nn.Module | None:
    return keras_modules.Greatest(space(shape), config["keepdims"])


@_maker("Flatten")
def _flatten(config: Config, shape: Size) -> nn.Module | None:
    return keras_modules.Reshape(shape, (math.prod(shape[1:]),))


@_maker("Reshape")
def _reshape(config: Config, shape: Size) -> nn.Module | None:
    target, numbers = list(config["target_shape"]), math.prod(shape[1:])
    known = math.prod(size for size in target if size != -1)
    return keras_modules.Reshape(shape, tuple(numbers // known if size == -1 else size for size in target))
