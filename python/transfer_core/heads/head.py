"""Interface of a fitted head, and the base of heads that are not fitted by gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from transfer_core.tasks.criteria import CLASSES, VALUES, Array

# Name of the only layer of a head in the file of a model.
_LAYER = "0."


class Head(ABC):
    """A fitted function from features (N, D) float32 to outputs (N, K) float32: logits or scaled values."""

    @abstractmethod
    def __call__(self, features: Array) -> Array:
        """Compute outputs (N, K)."""

    @abstractmethod
    def state_dict(self) -> dict[str, Array]:
        """Arrays by name, as in the file of a model."""

    @abstractmethod
    def check(self, width: int, outputs: int) -> None:
        """Check the arrays of an untrusted file for features of `width`, so that all indices are in range.

        Raises
        ------
        ValueError
            If an array has another shape, or a number is out of range.
        """


class FittedLayer(Head):
    """A head of one layer, whose arrays are attributes; `numbers` has their names in order."""

    numbers: ClassVar[tuple[str, ...]]
    # Its name in errors.
    title: ClassVar[str] = "its head"

    def __init__(self, *arrays: Array) -> None:
        for name, array in zip(self.numbers, arrays, strict=True):
            setattr(self, name, np.asarray(array))

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Array]) -> FittedLayer:
        """Make the head of `tensors`, which are named as in the file of a model."""
        return cls(*(tensors[_LAYER + name] for name in cls.numbers))

    def state_dict(self) -> dict[str, Array]:
        """See `Head`."""
        return {_LAYER + name: getattr(self, name) for name in self.numbers}

    def _check_shape(self, name: str, *shape: int) -> None:
        found = getattr(self, name).shape
        if found != shape:
            raise ValueError(f"{self.title}: {name} is of the shape {list(found)}, expected {list(shape)}")

    def _check_range(self, name: str, least: int, most: int) -> None:
        """Check that an array holds whole numbers from `least` to `most`."""
        numbers: Array = getattr(self, name)
        if numbers.dtype.kind not in "iu":
            raise ValueError(f"{self.title}: {name} is of {numbers.dtype}, expected whole numbers")
        wrong = numbers[(numbers < least) | (numbers > most)]
        if wrong.size:
            raise ValueError(f"{self.title}: {name} has numbers from {least} to {most} (got {int(wrong[0])})")


def outputs_of_votes(shares: Array, voters: int, kind: int) -> Array:
    """Convert shares (N, K) of votes to logits; softmax, or the sigmoid for labels, restores the shares.

    An output without votes counts as half a vote, so that its logit is finite. Values are returned unchanged.
    """
    if kind == VALUES:
        return shares
    likely = np.log(np.maximum(shares, 0.5 / voters))
    return likely if kind == CLASSES else likely - np.log(np.maximum(1 - shares, 0.5 / voters))
