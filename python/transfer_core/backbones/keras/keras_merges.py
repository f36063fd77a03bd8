"""Convert layers of several inputs, and functions in a graph such as `+`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Size, Tensor, nn

from transfer_core.backbones.keras import keras_modules
from transfer_core.backbones.keras.keras_geometry import dimension
from transfer_core.backbones.keras.keras_graph import Node, Slot

_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "TrueDivide": operator.truediv,
    "Divide": operator.truediv,
}


def of_several(node: Node, shapes: Sequence[Size]) -> nn.Module | dict[str, nn.Module] | None:
    """Convert a node with several inputs; layers take them as a list, functions as separate arguments."""
    slots = [Slot(number) for number in range(len(node.inputs))]
    if list(node.args) not in ([slots], slots) or len({len(shape) for shape in shapes}) > 1:
        return None
    if node.kind == "Concatenate":
        return keras_modules.Concatenated(dimension(node.config["axis"], len(shapes[0])))
    if node.kind == "Average":
        share = keras_modules.WithNumber(operator.truediv, len(slots), first=False)
        return {"_sum": keras_modules.Together(operator.add), "": share}
    if node.kind == "CustomScaleLayer":
        return keras_modules.Together(partial(_scaled_sum, node.config["scale"]))
    function = _FUNCTIONS.get(node.kind.removeprefix("ops."))
    return keras_modules.Together(function) if function else None


def with_a_number(node: Node) -> nn.Module | None:
    """Convert a function of a tensor and a number: `x / 127.5`, `x - 1`, `1 - x`."""
    function = _FUNCTIONS.get(node.kind.removeprefix("ops."))
    numbers = [one for one in node.args if isinstance(one, int | float)]
    if function is None or len(node.args) != 2 or len(numbers) != 1:
        return None
    return keras_modules.WithNumber(function, numbers[0], first=node.args[1] == Slot(0))


def _scaled_sum(scale: float, a: Tensor, b: Tensor) -> Tensor:
    return a + b * scale
