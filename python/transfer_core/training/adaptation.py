"""Training with a loss between a source and a target domain: batches of both, the head, the loss.

Rows at even places of a batch are of the source, those at odd places of the target. Unlabelled rows have the
weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from transfer_core.training.batch import Batch, BatchSource, Loss
from transfer_core.training.domain_losses import class_confusion, coral_loss, mmd_squared, reversed_gradient

_DISCRIMINATOR_WIDTH = 256
# The smallest batch: estimates of covariances and kernels need two rows of each domain.
_FEWEST = 4


@dataclass(frozen=True)
class Adaptation:
    """A method (`mmd`, `coral`, `dann`, `mcc`), the weight of its loss, and the domain of each row (N,)."""

    method: str
    strength: float
    from_source: Tensor


class DomainHead(nn.Module):
    """A head whose outputs in training mode are followed by columns that the loss of the method needs.

    These are the inputs of the last dense layer (`mmd`) or the log odds of the target domain behind a
    gradient reversal (`dann`). In eval mode it is the head alone.

    Attributes
    ----------
    factor
        The weight of the loss between the domains; `at` sets it.
    """

    def __init__(self, head: nn.Sequential, adaptation: Adaptation, generator: torch.Generator) -> None:
        super().__init__()
        last = head[-1]
        assert isinstance(last, nn.Linear)
        self.head = head
        self.adaptation = adaptation
        self.outputs = last.out_features
        adversarial = adaptation.method == "dann"
        self.discriminator = _discriminator(last.in_features, generator) if adversarial else None
        self.factor = 0.0

    def at(self, progress: float) -> None:
        """Set `factor` for this share of all steps: it rises from 0 (Ganin et al. 2016, section 5.2.2)."""
        self.factor = self.adaptation.strength * (2 / (1 + math.exp(-10 * progress)) - 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return outputs (N, K), in training mode with further columns, for embeddings (N, D)."""
        hidden: Tensor = self.head[:-1](embeddings)
        outputs: Tensor = self.head[-1](hidden)
        if not self.training or self.adaptation.method not in ("mmd", "dann"):
            return outputs
        if self.discriminator is not None:
            hidden = self.discriminator(reversed_gradient(hidden, self.factor))
        return torch.cat([outputs, hidden], dim=1)

    def loss(self, labelled: Loss) -> Loss:
        """Return the loss of labelled rows plus that between the domains, for batches of `paired_batches`.

        Parameters
        ----------
        labelled
            The loss of the task.
        """

        def loss(computed: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
            scores, further = computed[:, : self.outputs], computed[:, self.outputs :]
            return labelled(scores, targets, weights) + weights.sum() * self._between(scores, further)

        return loss

    def _between(self, scores: Tensor, further: Tensor) -> Tensor:
        method = self.adaptation.method
        if method == "dann":  # its gradient for the features has the factor already
            of_target = (torch.arange(len(further), device=further.device) % 2).to(further.dtype)
            return binary_cross_entropy_with_logits(further[:, 0], of_target)
        if len(scores) < _FEWEST:
            return scores.new_zeros(())
        if method == "mmd":
            found = mmd_squared(further[::2], further[1::2]) + mmd_squared(scores[::2], scores[1::2])
        elif method == "coral":
            found = coral_loss(scores[::2], scores[1::2])
        else:
            found = class_confusion(scores[1::2])
        return self.factor * found


def _discriminator(width: int, generator: torch.Generator) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):  # nn.Linear draws weights, which are not used
        layers = nn.Linear(width, _DISCRIMINATOR_WIDTH), nn.Linear(_DISCRIMINATOR_WIDTH, 1)
    with torch.no_grad():
        for layer in layers:
            bound = (6 / layer.in_features) ** 0.5
            layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 2 * bound - bound)
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def even_size(size: int) -> int:
    """Return the size of batches with equally many rows of each domain."""
    return max(_FEWEST, size - size % 2)


def paired_batches(
    head: DomainHead,
    size: int,
    seed: int,
    epochs: int,
    read: Callable[[Tensor, int], Iterable[Batch]],
) -> BatchSource:
    """Return batches in which rows of the source and the target take turns.

    An epoch has all rows of the source in a new order, and as many of the target: its rows are repeated, or
    some left for other epochs. Rows of the source are repeated to fill the last batch.

    Parameters
    ----------
    head
        Has the domain of each row, and gets the progress before each batch.
    size
        Rows per batch, of `even_size`.
    seed
        Determines the order.
    epochs
        Their number, for the schedule of the loss between the domains.
    read
        Returns batches of `size` for numbers of rows and the number of an epoch.
    """
    domains = [torch.nonzero(head.adaptation.from_source == wanted)[:, 0] for wanted in (True, False)]
    half = size // 2
    steps = -(-len(domains[0]) // half)

    def epoch(number: int) -> Iterable[Batch]:
        shuffle = torch.Generator().manual_seed(seed * 100_003 + number)
        order = torch.stack([_drawn(rows, steps * half, shuffle) for rows in domains], dim=1).flatten()
        for step, batch in enumerate(read(order, number)):
            head.at(((number - 1) * steps + step) / (epochs * steps))
            yield batch

    return BatchSource(epoch, steps)


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` of `rows` in random order; none is repeated before all are there."""
    rounds = -(-count // len(rows))
    return torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)])[:count]
