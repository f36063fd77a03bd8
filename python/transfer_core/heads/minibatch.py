"""Fit a head on features in memory with Adam, AdamW or SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import ROWS_AT_ONCE, parts_of
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import threads_for_work
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.batch import Batch, BatchSource, Metrics
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer
from transfer_core.training.loop import train_epochs
from transfer_core.training.losses import loss_of
from transfer_core.training.single_device_execution import SingleDeviceExecution


def unchanged(features: Array) -> Array:
    """Return `features`."""
    return features


def fit_minibatch(
    module: nn.Sequential,
    rows: Rows,
    valid: Rows,
    train: Train,
    seed: int,
    progress: Progress,
    prepare: Callable[[Array], Array] = unchanged,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> list[Metrics]:
    """Train `module` in place on the CPU.

    Parameters
    ----------
    rows
        Training rows.
    valid
        Rows for early stopping: the state with the lowest loss on them is restored at the end. If there are
        none, the last state remains.
    prepare
        Maps features (N, D) to the inputs of the module (N, D).

    Returns
    -------
    list of Metrics
        One entry per epoch.
    """
    size = train.batch_size or 32
    execution = SingleDeviceExecution(module, torch.device("cpu"), torch.float32, size, progress)

    @torch.no_grad()
    def validate() -> Metrics:
        parts = (module(torch.from_numpy(prepare(part))) for part in parts_of(valid.features))
        outputs = torch.cat(list(parts)).numpy()
        return valid.criterion.validation_metrics(outputs, valid.targets, valid.weights)

    with threads_for_work(size * sum(parameter.numel() for parameter in module.parameters())):
        return train_epochs(
            execution,
            _batches(rows, size, seed, prepare),
            loss_of(rows.criterion),
            validate if len(valid) else None,
            train,
            "train",
            seed,
            progress,
            checkpointer,
        )


def _batches(rows: Rows, size: int, seed: int, prepare: Callable[[Array], Array]) -> BatchSource:
    """Return batches in a new order per epoch; several batches of features are gathered at once."""
    at_once = size * max(1, ROWS_AT_ONCE // size)

    def epoch(number: int) -> Iterable[Batch]:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed * 100_003 + number))
        for some in parts_of(order.numpy(), at_once):
            columns = prepare(rows.features[some]), rows.targets[some], rows.weights[some]
            yield from Batch(*map(_tensor, columns)).split(size)

    return BatchSource(epoch, steps=-(-len(rows) // size))


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
