"""Batches of a training, and the loss of their examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

Metrics: TypeAlias = dict[str, float]

# (outputs, targets, weights) -> (), the sum over examples of weight times loss. A sum, not a mean: the losses
# of micro-batches add up, and the caller divides by the sum of the weights of the whole batch.
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Whole:
    """The batch of an optimizer step that several processes share.

    Attributes
    ----------
    examples
        Their number.
    first
        The place in it of the first example of a part.
    weight
        The sum of the weights of its examples; None until it is known.
    """

    examples: int
    first: int = 0
    weight: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """The N examples of one optimizer step, or those of one process.

    Attributes
    ----------
    inputs
        (N, …), what the trained module takes.
    targets
        (N,) or (N, K), as the loss of the task expects them.
    weights
        (N,), the weight of each example in the loss; or (N, K), one per label.
    whole
        The batch that these examples are a part of, if several processes share it.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    whole: Whole | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def examples(self) -> int:
        """Number of examples of the optimizer step."""
        return self.whole.examples if self.whole else len(self)

    @property
    def weight(self) -> Tensor:
        """Sum of the weights of the optimizer step, by which its loss is divided."""
        return self.weights.sum() if self.whole is None or self.whole.weight is None else self.whole.weight

    def split(self, size: int) -> Iterator[Batch]:
        """Yield micro-batches of up to `size` examples, in order."""
        parts = (torch.split(part, size) for part in (self.inputs, self.targets, self.weights))
        return (Batch(*part) for part in zip(*parts, strict=True))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; to a GPU the copy is asynchronous, from page-locked memory."""
        parts = self.inputs, self.targets, self.weights
        if device.type != "cuda":
            return Batch(*(part.to(device) for part in parts))
        locked = (part if part.is_cuda else part.pin_memory() for part in parts)
        return Batch(*(part.to(device, non_blocking=True) for part in locked))


@dataclass(frozen=True)
class BatchSource:
    """Batches per epoch: `epoch(number)` yields `steps` batches, the same ones for the same number."""

    epoch: Callable[[int], Iterable[Batch]]
    steps: int
