"""Fitting a head on features in memory with Adam, AdamW or SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import ROWS_AT_ONCE
from transfer_core.recipe.schema import Train
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Criterion, Metrics
from transfer_core.training.loop import Source, train_epochs


def as_they_are(features: Tensor) -> Tensor:
    """The same features."""
    return features


def fit_minibatch(
    head: nn.Sequential,
    rows: Rows,
    valid: Rows,
    train: Train,
    criterion: Criterion,
    seed: int,
    progress: Progress,
    prepare: Callable[[Tensor], Tensor] = as_they_are,
) -> list[Metrics]:
    """Train `head` in place on `rows`, whose features it gets through `prepare`; returns the history.

    The epoch with the lowest loss on `valid` is kept; with no validation rows, the last one.
    """

    @torch.no_grad()
    def validate() -> Metrics:
        outputs = torch.cat([head(prepare(part)) for part in torch.split(valid.features, ROWS_AT_ONCE)])
        return criterion.validation_metrics(outputs, valid.targets, valid.weights)

    batches = _batches(rows, train.batch_size or 32, seed, prepare)
    return train_epochs(
        head, batches, criterion.loss, validate if len(valid) else None, train, "train", seed, progress
    )


def _batches(rows: Rows, size: int, seed: int, prepare: Callable[[Tensor], Tensor]) -> Source:
    """Batches in an order of their own for each epoch, gathered some at a time."""
    at_once = size * max(1, ROWS_AT_ONCE // size)

    def epoch(number: int) -> Iterable[Batch]:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed * 100_003 + number))
        for some in torch.split(order, at_once):
            columns = prepare(rows.features[some]), rows.targets[some], rows.weights[some]
            yield from Batch(*columns).split(size)

    return Source(epoch, steps=-(-len(rows) // size))
