"""Fitting a head on features in memory with Adam, AdamW or SGD."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from transfer_core.heads.rows import Rows
from transfer_core.progress import Progress
from transfer_core.recipe import Train
from transfer_core.training import Batch, Metrics, Source, train_epochs, validation_metrics


def fit_minibatch(
    head: nn.Sequential, rows: Rows, valid: Rows, train: Train, seed: int, progress: Progress
) -> list[Metrics]:
    """Train `head` in place on `rows` (standardised features); returns the history.

    The epoch with the lowest loss on `valid` is kept; with no validation rows, the last one.
    """

    @torch.no_grad()
    def validate() -> Metrics:
        return validation_metrics(head(valid.features), valid.targets, valid.weights)

    batches = _batches(rows, train.batch_size or 32, seed)
    return train_epochs(head, batches, validate if len(valid) else None, train, "train", seed, progress)


def _batches(rows: Rows, size: int, seed: int) -> Source:
    def epoch(number: int) -> Iterable[Batch]:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed * 100_003 + number))
        for chunk in torch.split(order, size):
            yield rows.features[chunk], rows.targets[chunk], rows.weights[chunk]

    return Source(epoch, steps=-(-len(rows) // size))
