"""Layers that torch has no counterpart for, run by Keras on its torch backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.keras import keras_library
from transfer_core.backbones.keras.keras_graph import Node, Slot


class Foreign(nn.Module):
    """Module that runs a Keras layer with this module's weights; the layer itself has no state.

    It never runs in Keras' training mode: statistics are not updated, and dropout in it does nothing.

    Parameters
    ----------
    node
        The call of the layer.
    ranks
        Of the inputs; images (rank 4) are (N, C, H, W) here and (N, H, W, C) in Keras.
    trust
        Whether the layer's code may run.

    Raises
    ------
    RecipeError
        At `backbone`, if Keras can't create the layer.
    ConfigurationError
        If Keras uses another backend than torch in this process.
    """

    def __init__(self, node: Node, ranks: Sequence[int], trust: bool) -> None:
        super().__init__()
        self._keras = keras_library.on_torch(node.layer)
        layer = keras_library.made_layer(node, trust)
        self._layer = _Shared(layer)
        self._args, self._kwargs = _understood(node.args), _understood(node.kwargs)
        self._pictures = [rank == 4 for rank in ranks]
        self._names = []
        for number, variable in enumerate(keras_library.in_order(layer)):
            value, name = torch.from_numpy(keras_library.value(variable).copy()), f"variable_{number}"
            if variable.trainable:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
            self._names.append(name)

    def forward(self, *x: Tensor) -> Tensor:
        """Run the layer, with images as (N, C, H, W)."""
        tensors = [
            one.permute(0, 2, 3, 1) if picture else one
            for one, picture in zip(x, self._pictures, strict=True)
        ]
        args, kwargs = _filled(self._args, tensors), _filled(self._kwargs, tensors)
        device = x[0].device
        with self._keras.device(device.type if device.index is None else f"{device.type}:{device.index}"):
            result = self._called(args, kwargs)
        return result.permute(0, 3, 1, 2) if result.dim() == 4 else result

    def _called(self, args: Any, kwargs: Any) -> Tensor:
        layer, own = self._layer.layer, [getattr(self, name) for name in self._names]
        mode = {"training": False} if hasattr(layer, "trainable_variables") else {}  # a function has none
        with self._keras.StatelessScope(list(zip(keras_library.in_order(layer), own, strict=True))):
            result: Tensor = layer(*args, **kwargs, **mode)
        return result


class _Shared:
    """Hides a layer from torch, which would register its variables as parameters, and from deep copies."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self


def _understood(arguments: Any) -> Any:
    """The arguments with Keras' serialized constants, such as slices, deserialized."""
    if isinstance(arguments, Slot):
        return arguments
    if isinstance(arguments, dict):
        understood = {name: _understood(value) for name, value in arguments.items()}
        return keras_library.made(understood) if "class_name" in understood else understood
    if isinstance(arguments, list | tuple):
        return [_understood(value) for value in arguments]
    return arguments


def _filled(arguments: Any, tensors: Sequence[Tensor]) -> Any:
    """The arguments with tensors for slots."""
    if isinstance(arguments, Slot):
        return tensors[arguments.number]
    if isinstance(arguments, dict):
        return {name: _filled(value, tensors) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_filled(value, tensors) for value in arguments]
    return arguments
