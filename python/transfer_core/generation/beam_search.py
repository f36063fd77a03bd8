"""Beam search with length penalty, as transformers' `generate` does it with `early_stopping=False`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.generation.hypothesis import Hypothesis
from transfer_core.generation.token_rules import TokenRules

_IMPOSSIBLE = -1e9
_CHUNK = 256


class _Running(NamedTuple):
    """An unfinished hypothesis: the sum of its log-probabilities and its tokens."""

    total: float
    tokens: tuple[int, ...]


class _Source:
    """The hypotheses of one source."""

    def __init__(self, number: int, beams: int, limit: int, penalty: float, end: int) -> None:
        self.number = number
        self.limit = limit
        self.running = [_Running(0.0, ())] + [_Running(_IMPOSSIBLE, ())] * (beams - 1)
        self.finished: list[tuple[float, _Running]] = []
        self.done = False
        self._beams = beams
        self._penalty = penalty
        self._end = end

    def force(self, token: int) -> None:
        """Append a token to all hypotheses."""
        self.running = [_Running(total, (*tokens, token)) for total, tokens in self.running]

    def advance(self, totals: Sequence[float], beams: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Continue with the best 2 B candidates, in falling order; return the former beam of each new one."""
        length = len(self.running[0].tokens) + 1
        origins: list[int] = []
        running: list[_Running] = []
        for place, (total, beam, token) in enumerate(zip(totals, beams, tokens, strict=True)):
            candidate = _Running(total, (*self.running[beam].tokens, token))
            if token == self._end or length >= self.limit:
                if place < self._beams:
                    self.finished.append((total / length**self._penalty, candidate))
            elif len(running) < self._beams:
                running.append(candidate)
                origins.append(beam)
        self.finished.sort(key=lambda scored: -scored[0])
        del self.finished[self._beams :]
        if not running:
            self.done = True
            return []
        missing = self._beams - len(running)  # with a vocabulary of few tokens
        self.running = running + [_Running(_IMPOSSIBLE, running[0].tokens)] * missing
        best = running[0].total / length**self._penalty
        worst = self.finished[-1][0] if len(self.finished) == self._beams else _IMPOSSIBLE
        self.done = best <= worst
        return origins + [origins[0]] * missing

    def hypotheses(self, forced: int) -> list[Hypothesis]:
        """The finished hypotheses, the best first."""
        return [Hypothesis(found.tokens, found.total, forced) for _, found in self.finished]


def beam_search(
    network: EncoderDecoder,
    states: Tensor,
    mask: Tensor,
    rules: TokenRules,
    limits: Sequence[int],
    beams: int,
    length_penalty: float,
    check: Callable[[], None],
) -> list[list[Hypothesis]]:
    """Generate up to `beams` sequences per source, the best first.

    A hypothesis of n tokens is ranked by its log-probability divided by n^`length_penalty`. A source is done
    when the best unfinished hypothesis, divided by its present length, is not better than the worst of
    `beams` finished ones.

    Parameters
    ----------
    network, states, mask, rules, limits, check
        See `greedy_search`.
    beams
        B, hypotheses per source.
    length_penalty
        Exponent of the length.

    Returns
    -------
    list of list of Hypothesis
        Per source.
    """
    sources = [_Source(i, beams, limit, length_penalty, rules.end) for i, limit in enumerate(limits)]
    decoding = network.begin(states, mask, beams)
    active = list(sources)
    tokens = torch.full((beams * len(active),), rules.start, device=states.device)
    for place in range(max(limits, default=0)):
        check()
        logits = decoding.step(tokens)
        if place < len(rules.prefix):
            for source in active:
                source.force(rules.prefix[place])
            tokens = torch.full_like(tokens, rules.prefix[place])
            continue
        rows, kept = _advance(active, logits, rules, beams)
        active = [active[number] for number in kept]
        if not active:
            break
        kept_sources = torch.tensor(kept, device=states.device)
        everything = len(kept) == len(logits) // beams
        decoding.select(torch.tensor(rows, device=states.device), None if everything else kept_sources)
        last = [hypothesis.tokens[-1] for source in active for hypothesis in source.running]
        tokens = torch.tensor(last, device=states.device)
    return [source.hypotheses(len(rules.prefix)) for source in sources]


def _advance(
    active: Sequence[_Source], logits: Tensor, rules: TokenRules, beams: int
) -> tuple[list[int], list[int]]:
    """Advance all sources; return the rows to continue from, and the numbers of the sources not done."""
    totals = [hypothesis.total for source in active for hypothesis in source.running]
    normalizer = logits.logsumexp(dim=1)
    histories = [hypothesis.tokens for source in active for hypothesis in source.running]
    limits = [source.limit for source in active for _ in range(beams)]
    rules.forbid(logits, histories, limits, normalizer)
    logits += (torch.tensor(totals, device=logits.device) - normalizer)[:, None]
    values, places = top_values(logits.view(len(active), -1), 2 * beams)
    vocabulary = logits.shape[1]
    rows: list[int] = []
    kept: list[int] = []
    for number, (source, best, where) in enumerate(
        zip(active, values.tolist(), places.tolist(), strict=True)
    ):
        origins = source.advance(best, [i // vocabulary for i in where], [i % vocabulary for i in where])
        if not source.done:
            rows += [number * beams + origin for origin in origins]
            kept.append(number)
    return rows, kept


def top_values(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row (N, M) in falling order, and their places.

    They are within the `count` chunks with the largest maxima; torch's `topk` of whole rows takes longer.
    """
    rows, width = scores.shape
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
