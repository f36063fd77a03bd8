"""Batches of a training, and the loss of their examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Metrics: TypeAlias = dict[str, float]

# (outputs, targets, weights) -> (), the sum over examples of weight times loss. A sum, not a mean: the losses
# of micro-batches add up, and the caller divides by the sum of the weights of the whole batch.
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """The N examples of one optimizer step.

    Attributes
    ----------
    inputs
        (N, …), what the trained module takes.
    targets
        (N,) or (N, K), as the loss of the task expects them.
    weights
        (N,), the weight of each example in the loss; or (N, K), one per label.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def split(self, size: int) -> Iterator[Batch]:
        """Yield micro-batches of up to `size` examples, in order."""
        parts = (torch.split(part, size) for part in (self.inputs, self.targets, self.weights))
        return (Batch(*part) for part in zip(*parts, strict=True))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(self.inputs.to(device), self.targets.to(device), self.weights.to(device))


@dataclass(frozen=True)
class BatchSource:
    """Batches per epoch: `epoch(number)` yields `steps` batches, the same ones for the same number."""

    epoch: Callable[[int], Iterable[Batch]]
    steps: int
