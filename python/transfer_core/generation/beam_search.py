"""Beam search with length penalty, as transformers' `generate` does it with `early_stopping=False`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transfer_core.generation.hypothesis import Hypothesis

_IMPOSSIBLE = -1e9


class _Running(NamedTuple):
    """An unfinished hypothesis: the sum of its log-probabilities and its tokens."""

    total: float
    tokens: tuple[int, ...]


class BeamSearch:
    """The hypotheses of one source; see `running_batch.Search`.

    A hypothesis of n tokens is ranked by its log-probability divided by n^`penalty`. The search is done when
    the best unfinished hypothesis, divided by its present length, is not better than the worst of `beams`
    finished ones.

    Parameters
    ----------
    beams
        B, the number of hypotheses.
    limit
        Maximum length in tokens.
    penalty
        Exponent of the length.
    end
        The token that ends a hypothesis.
    """

    def __init__(self, beams: int, limit: int, penalty: float, end: int) -> None:
        self.limit = limit
        self.done = False
        self._running = [_Running(0.0, ())] + [_Running(_IMPOSSIBLE, ())] * (beams - 1)
        self._finished: list[tuple[float, _Running]] = []
        self._beams = beams
        self._penalty = penalty
        self._end = end

    @property
    def histories(self) -> list[tuple[int, ...]]:
        """The tokens of the unfinished hypotheses."""
        return [hypothesis.tokens for hypothesis in self._running]

    @property
    def totals(self) -> list[float]:
        """Their log-probabilities."""
        return [hypothesis.total for hypothesis in self._running]

    def force(self, token: int) -> list[int]:
        """Append a token to all hypotheses."""
        self._running = [_Running(total, (*tokens, token)) for total, tokens in self._running]
        return list(range(self._beams))

    def advance(self, totals: Sequence[float], beams: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Continue with the best 2 B candidates, in falling order; return the former beam of each new one."""
        length = len(self._running[0].tokens) + 1
        origins: list[int] = []
        running: list[_Running] = []
        for place, (total, beam, token) in enumerate(zip(totals, beams, tokens, strict=True)):
            candidate = _Running(total, (*self._running[beam].tokens, token))
            if token == self._end or length >= self.limit:
                if place < self._beams:
                    self._finished.append((total / length**self._penalty, candidate))
            elif len(running) < self._beams:
                running.append(candidate)
                origins.append(beam)
        self._finished.sort(key=lambda scored: -scored[0])
        del self._finished[self._beams :]
        if not running:
            self.done = True
            return []
        missing = self._beams - len(running)  # with a vocabulary of few tokens
        self._running = running + [_Running(_IMPOSSIBLE, running[0].tokens)] * missing
        best = running[0].total / length**self._penalty
        worst = self._finished[-1][0] if len(self._finished) == self._beams else _IMPOSSIBLE
        self.done = best <= worst
        return origins + [origins[0]] * missing

    def hypotheses(self, forced: int) -> list[Hypothesis]:
        """The finished hypotheses, the best first."""
        return [Hypothesis(found.tokens, found.total, forced) for _, found in self._finished]
