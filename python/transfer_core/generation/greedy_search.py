"""Greedy decoding: the most probable token at each position."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_core.generation.hypothesis import Hypothesis


class GreedySearch:
    """The hypothesis of one source; see `running_batch.Search`."""

    def __init__(self, limit: int, end: int) -> None:
        self.limit = limit
        self.done = False
        self.histories: list[list[int]] = [[]]
        self.totals = [0.0]
        self._end = end

    def force(self, token: int) -> list[int]:
        """Append a token."""
        self.histories[0].append(token)
        return [0]

    def advance(self, totals: Sequence[float], beams: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Append the best token."""
        self.totals = [totals[0]]
        self.histories[0].append(tokens[0])
        self.done = tokens[0] == self._end or len(self.histories[0]) >= self.limit
        return [0]

    def hypotheses(self, forced: int) -> list[Hypothesis]:
        """The only one."""
        return [Hypothesis(tuple(self.histories[0]), self.totals[0], forced)]
