"""Initialize the modules of a network, or fill them with Keras' weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones.keras import keras_weights
from transfer_core.backbones.keras.keras_library import Variables
from transfer_core.backbones.keras.keras_modules import LayerScale
from transfer_core.backbones.keras.keras_network import Piece


def draw(pieces: Sequence[Piece], seed: int) -> None:
    """Initialize the modules like Keras: Glorot-uniform kernels (Glorot and Bengio 2010) from a seed."""
    _make_room(pieces)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for _, module in _modules(pieces):
            for parameter in module.parameters():
                if parameter.dim() > 1 and not isinstance(module, LayerScale):
                    nn.init.xavier_uniform_(parameter)


def fill(pieces: Sequence[Piece], variables: Variables) -> None:
    """Copy the values of Keras' variables to the modules."""
    _make_room(pieces)
    for piece in pieces:
        of_layer = variables.get(piece.node.layer, [])
        if piece.foreign:
            _put(piece, {f".variable_{i}": value for i, (_, value) in enumerate(of_layer)})
        else:
            _put(piece, keras_weights.tensors(piece.node, dict(of_layer)))


@torch.no_grad()
def change_first_kernel(pieces: Sequence[Piece], blue_first: bool, scale: Sequence[float] | None) -> None:
    """Adapt the first convolution to our images.

    Parameters
    ----------
    pieces
        All layers of the network.
    blue_first
        Whether its weights expect the channels in the order blue, green, red.
    scale
        Factor per channel that Keras applies to the image before it.
    """
    kernel: Tensor = next(piece for piece in pieces if piece.heavy).steps[""].get_parameter("weight")
    if blue_first:
        kernel.copy_(kernel.flip(1))
    if scale:
        kernel.mul_(torch.tensor(scale).view(1, -1, 1, 1))


@torch.no_grad()
def _make_room(pieces: Sequence[Piece]) -> None:
    """Allocate tensors on the `meta` device with their initial values; kernels are uninitialized."""
    for piece, module in _modules(pieces):
        if not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
            continue
        module.to_empty(device="cpu")
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            module.reset_parameters()
        elif isinstance(module, LayerScale):
            module.gamma.fill_(piece.node.config["init_values"])
        elif isinstance(bias := getattr(module, "bias", None), Tensor):
            bias.zero_()
    for piece in pieces:
        _put(piece, keras_weights.constants(piece.node))


@torch.no_grad()
def _put(piece: Piece, tensors: keras_weights.Tensors) -> None:
    for name, value in tensors.items():
        suffix, tensor = name.split(".", 1)
        module = piece.steps[suffix]
        target = dict([*module.named_parameters(), *module.named_buffers()])[tensor]
        numbers = torch.from_numpy(np.ascontiguousarray(value))
        target.copy_(numbers.reshape(target.shape) if numbers.numel() == target.numel() else numbers)


def _modules(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, nn.Module]]:
    """Each module once, even if its layer is called several times."""
    seen: set[int] = set()
    for piece in pieces:
        for module in piece.steps.values():
            if id(module) not in seen:
                seen.add(id(module))
                yield piece, module
