"""The input and output that a method explains, and what a method returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.features.tokens import Reader
from transfer_core.heads import Head
from transfer_core.tasks.criteria import Array


@dataclass(frozen=True)
class Case:
    """One input, and the score of its prediction that is explained.

    Attributes
    ----------
    loaded
        The input as the extractor loads it: pixels uint8 (H, W, 3), a text or two, a row.
    backbone, head
        The parts of the model.
    columns
        Names of the columns of a row; empty for other inputs.
    cells
        The row before it was loaded.
    load
        Loads other cells.
    direction, offset
        (K,) and a number: the score is `outputs @ direction + offset`.
    mean
        (D,) mean embedding of stored training examples; None without any.
    score
        Scores (N,) float64 of N loaded inputs.
    reader
        The tokenizer of a text encoder; None for other backbones.
    """

    loaded: Any
    backbone: AnyBackbone
    head: Head
    columns: tuple[str, ...]
    cells: tuple[Any, ...]
    load: Callable[[tuple[Any, ...]], Any]
    direction: Array
    offset: float
    mean: Array | None
    score: Callable[[Sequence[Any]], Array]
    reader: Reader | None = None


@dataclass(frozen=True)
class Attribution:
    """The result of a method; one of `heatmap`, `tokens` and `columns` is given.

    Attributes
    ----------
    heatmap
        (h, w) float64: the contribution of each place of an image, in the resolution of the method.
    tokens
        Pieces of a text in order with their contributions.
    columns
        Contributions by name of the column.
    base
        The score that the contributions add up from; None if they do not add up.
    """

    heatmap: Array | None = None
    tokens: tuple[tuple[str, float], ...] | None = None
    columns: dict[str, float] | None = None
    base: float | None = None
