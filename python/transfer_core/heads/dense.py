"""Dense layers with ReLU between them: linear, logistic and mlp heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transfer_core.heads.head import Head
from transfer_core.tasks.criteria import Array

# Products of weights with embeddings stay within 32-bit numbers.
_LARGEST = 1e30


class DenseHead(Head):
    """Dense layers with ReLU between them, from `<number>.weight` (out, in) and `<number>.bias` (out,).

    The numbers count ReLU and dropout as well, as those of `torch.nn.Sequential`.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._tensors = dict(tensors)
        self._numbers = sorted({int(name.partition(".")[0]) for name in tensors})

    @property
    def width(self) -> int:
        """Width of the features."""
        return int(self._of(self._numbers[0])[0].shape[1])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self._of(self._numbers[-1])[0])

    def __call__(self, features: Array) -> Array:
        """See `Head`."""
        first, *further = self._numbers
        outputs = self._layer(first, features)
        for number in further:
            outputs = self._layer(number, np.maximum(outputs, 0))
        return outputs

    def state_dict(self) -> dict[str, Array]:
        """See `Head`."""
        return dict(self._tensors)

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        for number in self._numbers:
            weight, bias = self._of(number)
            if {weight.dtype, bias.dtype} != {np.dtype(np.float32)}:
                raise ValueError(f"its head does not fit its header: layer {number} is not of 32-bit numbers")
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                shape = list(weight.shape)
                raise ValueError(f"its head does not fit its header: layer {number} is of the shape {shape}")
            largest = max(float(np.abs(part).max(initial=0)) for part in (weight, bias))
            if largest > _LARGEST:
                raise ValueError(f"its head has the weight {largest:g}, expected at most {_LARGEST:g}")
            width = len(weight)
        if width != outputs:
            raise ValueError(f"its head does not fit its header: it has {width} outputs")

    def after_standardization(self, mean: Array, scale: Array) -> DenseHead:
        """Return the head that takes x, for this one, fitted on z = (x - mean) / scale.

        `mean` and `scale` are (D,). With W' = W / scale and b' = b - W' mean, W z + b = W' x + b'.
        """
        number = self._numbers[0]
        weight, bias = self._of(number)
        return DenseHead(self._tensors | named(number, *folded(weight, bias, mean, scale)))

    def after_dense(self, weight: Array, bias: Array) -> DenseHead:
        """Return the head that takes x, for this one, fitted on x @ weight.T + bias: (R, D) and (R,)."""
        number = self._numbers[0]
        own, shift = self._of(number)
        wide = own.astype(np.float64)
        together, moved = wide @ weight, shift + wide @ bias
        return DenseHead(self._tensors | named(number, together.astype(np.float32), moved.astype(np.float32)))

    def _layer(self, number: int, x: Array) -> Array:
        weight, bias = self._of(number)
        product: Array = x @ weight.T
        product += bias
        return product

    def _of(self, number: int) -> tuple[Array, Array]:
        return self._tensors[f"{number}.weight"], self._tensors[f"{number}.bias"]


def named(number: int, weight: Array, bias: Array) -> dict[str, Array]:
    """Name the arrays of layer `number`."""
    return {f"{number}.weight": weight, f"{number}.bias": bias}


def folded(weight: Array, bias: Array, mean: Array, scale: Array) -> tuple[Array, Array]:
    """Return weight and bias, float32, of a layer for x from those for z = (x - mean) / scale."""
    wide = weight.astype(np.float64) / scale
    return wide.astype(np.float32), (bias - wide @ mean.astype(np.float64)).astype(np.float32)
