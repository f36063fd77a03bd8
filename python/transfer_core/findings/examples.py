"""Labelled examples as an audit takes them, and its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data.example import Part

# A path, or the number of a row, from 1 on.
Key: TypeAlias = str | int


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    kind
        `unreadable`, `duplicate`, `near_duplicate`, `wrong_label`, `outlier`, `imbalance`, `leaking_column`,
        `spurious_cue`, `group`.
    detail
        A sentence about it.
    input
        The path of the input, or the number of its row, from 1 on; None: about the data as a whole.
    label
        The label of the input, or of the examples concerned; None without one.
    suggested
        A label that fits better; None: no suggestion.
    score
        The larger, the more certain: see each kind.
    keep
        Whether a training with the findings as corrections keeps the input.
    other
        The input that it is a copy of; None for other kinds.
    """

    kind: str
    detail: str
    input: Key | None = None
    label: str | None = None
    suggested: str | None = None
    score: float | None = None
    keep: bool = True
    other: Key | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """N readable examples.

    Attributes
    ----------
    keys
        The path or row number of each.
    inputs
        Paths, texts, or rows of a table.
    labels
        Each label as text.
    parts
        The part of the split that the data name; None without one.
    groups
        The user's group of each; None without one.
    """

    keys: Sequence[Key]
    inputs: Sequence[Any]
    labels: Sequence[str]
    parts: Sequence[Part | None]
    groups: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Sequence[int]) -> Examples:
        """Select the rows."""
        return Examples(
            [self.keys[row] for row in rows],
            [self.inputs[row] for row in rows],
            [self.labels[row] for row in rows],
            [self.parts[row] for row in rows],
            [self.groups[row] for row in rows],
        )

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """The number of each label among the sorted labels, (N,)."""
        return np.unique(np.asarray(self.labels), return_inverse=True)[1]
