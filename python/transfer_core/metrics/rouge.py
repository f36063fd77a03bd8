"""ROUGE (Lin 2004): overlap of words, pairs of words, and longest common subsequences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"[^\W_]+")


def rouge(predictions: Sequence[str], references: Sequence[str]) -> npt.NDArray[np.float64]:
    """ROUGE-L, ROUGE-1 and ROUGE-2 per pair of texts, (N, 3): F1 scores, without stemming.

    >>> rouge(["the cat sat"], ["the cat is"]).round(3).tolist()
    [[0.667, 0.667, 0.5]]
    """
    rows = np.zeros((len(predictions), 3))
    for row, (found, wanted) in enumerate(zip(predictions, references, strict=True)):
        one, other = (_WORD.findall(text.lower()) for text in (found, wanted))
        rows[row, 0] = _f1(_common_length(one, other), len(one), len(other))
        for size in (1, 2):
            grams = [Counter(zip(*(words[i:] for i in range(size)), strict=False)) for words in (one, other)]
            rows[row, size] = _f1((grams[0] & grams[1]).total(), grams[0].total(), grams[1].total())
    return rows


def _f1(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if common else 0.0


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, found in enumerate(other, start=1):
            before, row[place] = row[place], before + 1 if word == found else max(row[place], row[place - 1])
    return row[-1]
