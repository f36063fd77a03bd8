"""A generated token sequence."""

from __future__ import annotations

import math
from typing import NamedTuple


class Hypothesis(NamedTuple):
    """A generated sequence.

    Parameters
    ----------
    tokens
        Generated tokens, with the last one (the end, unless the maximum length was reached).
    log_probability
        Sum over the tokens, without forced ones.
    forced
        Number of forced tokens.
    """

    tokens: tuple[int, ...]
    log_probability: float
    forced: int = 0

    @property
    def score(self) -> float:
        """Geometric mean of the probabilities of the tokens, between 0 and 1."""
        return math.exp(self.log_probability / max(1, len(self.tokens) - self.forced))
