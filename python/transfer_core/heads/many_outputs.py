"""Part of many outputs, on which scaling and strength of a linear head are chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from transfer_core.heads.folds import a_part_of
from transfer_core.heads.rows import Rows
from transfer_core.tasks.criteria import CLASSES
from transfer_core.tasks.distillation import DISTILLED

# From so many outputs on, this part of them decides.
MANY, SOME = 128, 64

# Examples that suffice to compare strengths.
ENOUGH_EXAMPLES = 5000


class Part(NamedTuple):
    """`rows` with some of the `outputs`, renumbered.

    `factor` is the number of all rows over that of these. The sum of losses over the rows of an output and
    its penalty keep their proportion if the strength is multiplied by it.
    """

    rows: Rows
    outputs: int
    factor: float = 1.0


def part_of_outputs(rows: Rows, outputs: int, seed: int) -> Part:
    """Return `SOME` of the outputs, chosen by `seed`: the examples of these classes, or the columns."""
    generator = np.random.default_rng(seed)
    if rows.criterion.layout == DISTILLED:  # its targets have several columns per output
        part = a_part_of(rows, ENOUGH_EXAMPLES, seed)
        return Part(part, outputs, len(rows) / len(part))
    if rows.criterion.layout == CLASSES:
        chosen = np.sort(generator.permutation(np.unique(rows.targets))[:SOME])
        number = np.full(outputs, -1)
        number[chosen] = np.arange(len(chosen))
        part = rows.take(np.flatnonzero(number[rows.targets] >= 0))
        part = replace(part, targets=number[part.targets])
    else:
        chosen = np.sort(generator.permutation(outputs)[:SOME])
        weights = rows.weights if rows.weights.ndim == 1 else rows.weights[:, chosen]
        part = replace(rows, targets=rows.targets[:, chosen], weights=weights)
    part = a_part_of(part, ENOUGH_EXAMPLES, seed)
    return Part(part, len(chosen), len(rows) / len(part))
