"""Step 4: fit the new head on the features of the frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transfer_core.heads.classic import fit_classic
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.minibatch import fit_minibatch
from transfer_core.heads.modules import build_head, fold_standardization, last_dense
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import standardization
from transfer_core.recipe.schema import ClassicHead, Head, Train
from transfer_core.runtime.devices import threads_for_work
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Metrics
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer

FOLDS = 5


@dataclass(frozen=True)
class FittedHead:
    """A fitted `module` from features (N, D) to outputs (N, K), and its history.

    `held_out` (M, K) are outputs for examples, with `held_out_targets`, that the fit did not use; scores are
    calibrated on them.
    """

    module: nn.Sequential
    history: list[Metrics]
    held_out: Tensor
    held_out_targets: Tensor


def fit_head(
    spec: Head,
    train: Train,
    rows: Rows,
    valid: Rows,
    outputs: int,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> FittedHead:
    """Fit a new head on `rows`.

    L-BFGS and scikit-learn use cross-validation and ignore `valid`; the other optimizers use it for early
    stopping.

    Raises
    ------
    DataError
        If `rows` are of fewer than two examples.
    """
    examples = len(torch.unique(rows.groups))
    if examples < 2:
        raise DataError(f"a head needs at least 2 examples to learn from (got {examples})")
    if isinstance(spec, ClassicHead):
        fit = fit_classic(spec, rows, outputs, FOLDS, seed, progress)
        return FittedHead(nn.Sequential(fit.layer).eval(), fit.history, fit.held_out, fit.held_out_targets)
    generator = torch.Generator().manual_seed(seed)
    head = build_head(spec, rows.features.shape[1], outputs, generator)
    at_once = len(rows) * FOLDS if train.optimizer == "lbfgs" else train.batch_size or 1
    with threads_for_work(at_once * rows.features.shape[1] * outputs):
        if train.optimizer == "lbfgs":
            return _fit_by_cross_validation(head, rows, outputs, seed, progress)
        return _fit_in_epochs(head, train, rows, valid, seed, progress, checkpointer)


def _fit_in_epochs(
    head: nn.Sequential,
    train: Train,
    rows: Rows,
    valid: Rows,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
) -> FittedHead:
    mean, scale = standardization(rows.features)
    history = fit_minibatch(
        head, rows, valid, train, seed, progress, lambda x: (x - mean) / scale, checkpointer
    )
    fold_standardization(head, mean, scale)
    with torch.no_grad():
        return FittedHead(head, history, head(valid.features), valid.targets)


def _fit_by_cross_validation(
    head: nn.Sequential, rows: Rows, outputs: int, seed: int, progress: Progress
) -> FittedHead:
    fit = fit_linear(rows, outputs, FOLDS, seed, progress)
    with torch.no_grad():
        layer = last_dense(head)
        layer.weight.copy_(fit.weight)
        layer.bias.copy_(fit.bias)
    head.eval()
    return FittedHead(head, fit.path, fit.held_out, fit.held_out_targets)
