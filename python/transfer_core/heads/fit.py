"""Step 4: fit the new head on the features of the frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transfer_core.heads.classic import fit_classic
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.dense import DenseHead, named
from transfer_core.heads.head import Head
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import standardization
from transfer_core.recipe import heads as specs
from transfer_core.recipe.heads import ClassicHead, LinearHead, MlpHead
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer

FOLDS = 5


@dataclass(frozen=True)
class HeadFit:
    """A fitted `head` and its history.

    `held_out` (M, K) are outputs for examples, with `held_out_targets`, that the fit did not use; scores are
    calibrated on them. `held_out_rows` (M,) are their numbers among training, then validation rows. `penalty`
    (D,) is that of a linear head at the minimum of its loss, see `LinearFit`.
    """

    head: Head
    history: list[dict[str, Any]]
    held_out: Array
    held_out_targets: Array
    held_out_rows: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    penalty: Array | None = None


def fit_head(
    spec: specs.Head,
    train: Train,
    rows: Rows,
    valid: Rows,
    outputs: int,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> HeadFit:
    """Fit a new head on `rows`.

    L-BFGS and scikit-learn use cross-validation and ignore `valid`; the other optimizers use it for early
    stopping.

    Raises
    ------
    DataError
        If `rows` are of fewer than two examples.
    """
    examples = len(np.unique(rows.groups))
    if examples < 2:
        raise DataError(f"a head needs at least 2 examples to learn from (got {examples})")
    if isinstance(spec, ClassicHead):
        return HeadFit(*fit_classic(spec, rows, outputs, FOLDS, seed, progress))
    if train.optimizer == "lbfgs":
        fit = fit_linear(rows, outputs, FOLDS, seed, progress)
        head = DenseHead(named(0, fit.weight, fit.bias))
        return HeadFit(head, fit.path, fit.held_out, fit.held_out_targets, fit.held_out_rows, fit.penalty)
    assert isinstance(spec, LinearHead | MlpHead)
    return _fit_in_epochs(spec, train, rows, valid, outputs, seed, progress, checkpointer)


def _fit_in_epochs(
    spec: LinearHead | MlpHead,
    train: Train,
    rows: Rows,
    valid: Rows,
    outputs: int,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
) -> HeadFit:
    import torch

    from transfer_core.heads.minibatch import fit_minibatch
    from transfer_core.heads.modules import build_module, head_of

    mean, scale = standardization(rows.features)
    module = build_module(spec, rows.features.shape[1], outputs, torch.Generator().manual_seed(seed))
    history = fit_minibatch(
        module, rows, valid, train, seed, progress, lambda x: (x - mean) / scale, checkpointer
    )
    head = head_of(module).after_standardization(mean, scale)
    held_out_rows = len(rows) + np.arange(len(valid))
    return HeadFit(head, history, head(valid.features), valid.targets, held_out_rows)
