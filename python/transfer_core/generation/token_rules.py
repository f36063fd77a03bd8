"""Tokens that are forced or forbidden at a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenRules:
    """Rules of one generation.

    Attributes
    ----------
    start
        The first input of the decoder.
    prefix
        Forced tokens at the beginning.
    end
        The token that ends a sequence.
    banned
        Tokens that are never generated.
    no_repeat
        Length of a token sequence that may not occur twice; 0: any may.
    forced_end
        Whether the last token within the maximum length must be `end`.
    """

    start: int
    prefix: tuple[int, ...]
    end: int
    banned: tuple[int, ...] = ()
    no_repeat: int = 0
    forced_end: bool = False

    def forbid(
        self,
        scores: Tensor,
        histories: Sequence[Sequence[int]],
        limits: Sequence[int],
        costs_nothing: Tensor,
    ) -> None:
        """Set the scores (R, V) of forbidden next tokens to minus infinity, in place.

        Parameters
        ----------
        scores
            A score per possible next token.
        histories
            The generated tokens of each row.
        limits
            The maximum length of each row.
        costs_nothing
            (R,) the score of a token of probability 1, which a forced end has.
        """
        if self.banned:
            scores[:, list(self.banned)] = -torch.inf
        if self.no_repeat:
            for row, history in enumerate(histories):
                scores[row, self._repeating(history)] = -torch.inf
        if self.forced_end:
            for row, (history, limit) in enumerate(zip(histories, limits, strict=True)):
                if len(history) == limit - 1:
                    scores[row] = -torch.inf
                    scores[row, self.end] = costs_nothing[row]

    def _repeating(self, history: Sequence[int]) -> list[int]:
        """Tokens that would repeat a sequence of the history."""
        known = (self.start, *history)
        before = self.no_repeat - 1
        last = known[len(known) - before :]
        starts = range(len(known) - before)
        return [known[i + before] for i in starts if known[i : i + before] == last]
