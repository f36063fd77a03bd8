"""Fit a head on features of two domains with a loss between them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from transfer_core.heads.head import Head
from transfer_core.heads.modules import build_module, head_of
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import standardization
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import threads_for_work
from transfer_core.runtime.progress import Progress
from transfer_core.training.adaptation import Adaptation, DomainHead, even_size, paired_batches
from transfer_core.training.batch import Batch, Metrics
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer
from transfer_core.training.loop import train_epochs
from transfer_core.training.losses import loss_of
from transfer_core.training.single_device_execution import SingleDeviceExecution

# The default batch is a quarter of both domains within these bounds: about sixteen steps per epoch.
_SMALLEST, _LARGEST = 32, 512


def fit_adapted_head(
    spec: LinearHead | MlpHead,
    train: Train,
    rows: Rows,
    adaptation: Adaptation,
    outputs: int,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> tuple[Head, list[Metrics]]:
    """Fit a head on features of both domains; the last epoch remains, as no labels of the target choose one.

    Parameters
    ----------
    rows
        Rows of both domains; unlabelled ones have the weight 0.
    adaptation
        The method, and the domain of each row.
    outputs
        K.

    Returns
    -------
    The head, and one entry per epoch.
    """
    of_source = int(adaptation.from_source.sum())
    size = even_size(train.batch_size or min(max(of_source // 8, _SMALLEST), _LARGEST))
    width = rows.features.shape[1]
    generator = torch.Generator().manual_seed(seed)
    module = build_module(spec, width, outputs, generator)
    head = DomainHead(module, adaptation, generator)
    mean, scale = standardization(rows.features)

    def read(order: Tensor, epoch: int) -> Iterable[Batch]:
        for some in torch.split(order, size):
            numbers = some.numpy()
            features = (rows.features[numbers] - mean) / scale
            columns = features, rows.targets[numbers], rows.weights[numbers]
            yield Batch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in columns))

    assert train.epochs
    batches = paired_batches(head, size, seed, train.epochs, read)
    execution = SingleDeviceExecution(head, torch.device("cpu"), torch.float32, size, progress)
    loss = head.loss(loss_of(rows.criterion))
    with threads_for_work(size * sum(parameter.numel() for parameter in head.parameters())):
        history = train_epochs(execution, batches, loss, None, train, "train", seed, progress, checkpointer)
    return head_of(module).after_standardization(mean, scale), history
