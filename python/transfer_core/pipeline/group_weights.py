"""Weights of groups: equal totals, or larger ones for groups with a larger held-out loss.

For a classification a cell is a class within a group, else a group: what is rare or hard is a class under
conditions that are unusual for it, as a bird of the water on land.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from transfer_core.data import Dataset
from transfer_core.data.bad_input import listed
from transfer_core.heads import HeadFit, Rows
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES, Array
from transfer_core.training.group_dro import mean_by_group, next_factors

ROUNDS = 8
# Fewer examples make the weight of a cell a matter of chance.
_FEW = 5


class Cells(NamedTuple):
    """The number of the cell of each training and validation example, (N,) and (M,); -1 without a group."""

    train: Array
    valid: Array

    @property
    def counts(self) -> Array:
        """Examples per cell."""
        both = np.concatenate([self.train, self.valid])
        return np.bincount(both[both >= 0])


def cells_of(frozen: Frozen) -> Cells:
    """Number the cells of `frozen`."""
    of_classes = frozen.task.criterion.layout == CLASSES
    numbers: dict[tuple[str, int], int] = {}

    def of_part(part: Dataset) -> Array:
        classes = part.targets.tolist() if of_classes else [0] * len(part)
        pairs = zip(part.subgroups, classes, strict=True)
        return np.array(
            [-1 if group is None else numbers.setdefault((group, one), len(numbers)) for group, one in pairs],
            np.int64,
        )

    return Cells(of_part(frozen.splits.train), of_part(frozen.splits.valid))


def balanced_weights(frozen: Frozen, dataset: Dataset) -> Array:
    """Weights (N,) of the training or validation part that give each cell the same total, 1 for examples
    without a group."""
    cells = cells_of(frozen)
    own, counts = cells.train if dataset is frozen.splits.train else cells.valid, cells.counts
    by_cell = np.append(counts.sum() / (len(counts) * counts), 1.0).astype(np.float32)
    weights: Array = by_cell[own]
    return weights


def check_groups(frozen: Frozen, progress: Progress) -> None:
    """Warn about cells of few examples; raises `DataError` if there are fewer than two groups."""
    splits = frozen.splits
    names = sorted({one for one in splits.train.subgroups if one is not None})
    if len(names) < 2:
        raise DataError(
            f"group_weights: expected at least two groups of training {splits.modality.many} (got "
            f"{listed(names)}). Fix: leave it out, or add examples of other groups"
        )
    counts = cells_of(frozen).counts
    if counts.min() < _FEW:
        factor = counts.sum() / (len(counts) * counts.min())
        many = splits.modality.many
        progress.warning(
            f"group_weights: the rarest class of a group has only {counts.min()} training {many}, each with "
            f"{factor:.0f} times the mean weight. Try: more examples of it"
        )


def fit_robust(
    fit: Callable[[Rows, Rows], HeadFit], rows: Rows, valid: Rows, cells: Array, progress: Progress
) -> HeadFit:
    """Fit a head whose largest held-out loss of a cell is small: group DRO (Sagawa et al. 2020).

    The minimum over heads of the largest loss is found as the equilibrium of a game: the weights of cells
    grow exponentially with their losses, and the head is fitted anew (Freund and Schapire 1999). Losses are
    held-out ones, since those of training vanish with many features. The best head of all rounds is taken.

    Parameters
    ----------
    fit
        Fits a head on training and validation rows.
    rows, valid
        N training and M validation rows; their weights give each cell the same total.
    cells
        (N + M,) cells of the rows; -1 for none.
    progress
        Progress events and cancellation.

    Raises
    ------
    DataError
        If no example with a group was held out.
    """
    factors = np.ones(cells.max() + 2)  # the last is for rows without a group
    best: tuple[float, HeadFit] | None = None
    for number in range(ROUNDS):
        progress.advance("train", number, ROUNDS, "fits")
        of_rows = factors[cells].astype(np.float32)
        fitted = fit(
            replace(rows, weights=rows.weights * of_rows[: len(rows)]),
            replace(valid, weights=valid.weights * of_rows[len(rows) :]),
        )
        own = cells[fitted.held_out_rows]
        if not (own >= 0).any():
            raise DataError("group_weights: robust needs validation examples. Fix: split valid: 0.15")
        weights = np.ones(len(own), np.float32)
        losses = rows.criterion.losses(fitted.held_out, fitted.held_out_targets, weights)
        by_cell = mean_by_group(losses, own, len(factors) - 1)
        if best is None or by_cell.max() < best[0]:
            best = by_cell.max(), fitted
        factors[:-1] = next_factors(factors[:-1], by_cell)
    progress.advance("train", ROUNDS, ROUNDS, "fits")
    assert best
    return best[1]
