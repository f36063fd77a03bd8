"""Continuous batching (Yu et al. 2022, Orca): texts join and leave a batch between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from transfer_core.backbones.encoder_decoder.encoder_decoder import Decoding, EncoderDecoder
from transfer_core.generation.hypothesis import Hypothesis
from transfer_core.generation.token_rules import TokenRules

_CHUNK = 256
# Rows of finished greedy searches are removed once they are this share: removing them copies the others.
_REMOVED_AT = 0.25


class Search(Protocol):
    """The B hypotheses of one source."""

    limit: int
    done: bool

    @property
    def histories(self) -> Sequence[Sequence[int]]:
        """The tokens of the unfinished hypotheses."""

    @property
    def totals(self) -> Sequence[float]:
        """Their log-probabilities."""

    def force(self, token: int) -> list[int]:
        """Append a token to all hypotheses; return the former beam of each new one."""

    def advance(self, totals: Sequence[float], beams: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Append tokens, given the best candidates in falling order; return the former beam of each new
        hypothesis."""

    def hypotheses(self, forced: int) -> list[Hypothesis]:
        """Results, the best first, after `forced` forced tokens."""


class RunningBatch:
    """Searches that share the forward passes of the decoder, one token per step.

    Parameters
    ----------
    network
        The network.
    rules
        Forced and forbidden tokens.
    beams
        B, hypotheses per source; 1: greedy.
    """

    def __init__(self, network: EncoderDecoder, rules: TokenRules, beams: int) -> None:
        self._network = network
        self._rules = rules
        self.beams = beams
        self._candidates = 2 * beams if beams > 1 else 1
        self._searches: list[Search] = []  # finished ones among them, until they are removed
        self._decoding: Decoding | None = None

    def __len__(self) -> int:
        return sum(not search.done for search in self._searches)

    def join(self, states: Tensor, mask: Tensor, searches: Sequence[Search]) -> None:
        """Add N sources.

        Parameters
        ----------
        states, mask
            Source states (N, S, D) and their mask (N, S).
        searches
            A new search for each.
        """
        self.drop(lambda search: False)
        decoding = self._network.begin(states, mask, self.beams)
        if self._decoding:
            self._decoding.join(decoding)
        else:
            self._decoding = decoding
        self._searches += searches

    def step(self) -> None:
        """Append a token to every hypothesis of every search that is not done."""
        assert self._decoding
        start, prefix = self._rules.start, self._rules.prefix
        histories = [history for search in self._searches for history in search.histories]
        last = [history[-1] if history else start for history in histories]
        logits = self._decoding.step(torch.tensor(last, device=self._decoding.device))
        origins = []
        for search, *best in zip(self._searches, *self._best(logits, histories), strict=True):
            if search.done:
                origins.append([0])  # greedy
            elif (place := len(search.histories[0])) < len(prefix):
                origins.append(search.force(prefix[place]))
            else:
                origins.append(search.advance(*best))
        lazy = self.beams == 1 and len(self) > (1 - _REMOVED_AT) * len(self._searches)
        kept = [number for number, search in enumerate(self._searches) if lazy or not search.done]
        self._keep(kept, [number * self.beams + origin for number in kept for origin in origins[number]])

    def drop(self, unwanted: Callable[[Search], bool]) -> None:
        """Remove searches that are done or `unwanted`."""
        for search in self._searches:
            search.done = search.done or unwanted(search)
        kept = [number for number, search in enumerate(self._searches) if not search.done]
        self._keep(kept, [number * self.beams + beam for number in kept for beam in range(self.beams)])

    def _best(self, logits: Tensor, histories: Sequence[Sequence[int]]) -> tuple[list[Any], ...]:
        """The totals of the best candidates of each search in falling order, their beams and tokens."""
        normalizer, beams = logits.logsumexp(dim=1), self.beams
        limits = [search.limit for search in self._searches for _ in range(beams)]
        self._rules.forbid(logits, histories, limits, normalizer)
        totals = [total for search in self._searches for total in search.totals]
        values, tokens = top_values(logits, self._candidates)
        count = values.shape[1]
        values = values + (torch.tensor(totals, device=logits.device) - normalizer)[:, None]
        values, order = values.view(-1, beams * count).topk(min(self._candidates, beams * count), dim=1)
        tokens = tokens.view(-1, beams * count).gather(1, order)
        return values.tolist(), (order // count).tolist(), tokens.tolist()

    def _keep(self, kept: Sequence[int], rows: Sequence[int]) -> None:
        """Continue with the searches of these numbers, from these rows."""
        everything = len(kept) == len(self._searches)
        if everything and list(rows) == list(range(len(rows))):
            return
        self._searches = [self._searches[number] for number in kept]
        if not kept:
            self._decoding = None
            return
        assert self._decoding
        device = self._decoding.device
        sources = None if everything else torch.tensor(kept, device=device)
        self._decoding.select(torch.tensor(rows, device=device), sources)


def top_values(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row (N, M) in falling order, and their places.

    They are within the `count` chunks with the largest maxima; torch's `topk` of whole rows takes longer.
    """
    rows, width = scores.shape
    if count == 1:
        return scores.max(dim=1, keepdim=True)
    count = min(count, width)
    whole = width // _CHUNK * _CHUNK
    if whole // _CHUNK <= count:
        return scores.topk(count, dim=1)
    chunks = scores[:, :whole].view(rows, -1, _CHUNK)
    best = chunks.amax(dim=2).topk(count, dim=1).indices
    inside = chunks.gather(1, best[:, :, None].expand(-1, -1, _CHUNK)).reshape(rows, -1)
    places = (best[:, :, None] * _CHUNK + torch.arange(_CHUNK, device=scores.device)).reshape(rows, -1)
    if whole < width:
        inside = torch.cat([inside, scores[:, whole:]], dim=1)
        rest = torch.arange(whole, width, device=scores.device).expand(rows, -1)
        places = torch.cat([places, rest], dim=1)
    values, within = inside.topk(count, dim=1)
    return values, places.gather(1, within)
