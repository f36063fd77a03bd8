"""Greedy decoding: the most probable token at each position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.generation.hypothesis import Hypothesis
from transfer_core.generation.token_rules import TokenRules

# Finished rows are removed once they are this share: removing them copies the state of the others.
_REMOVED_AT = 0.25


def greedy_search(
    network: EncoderDecoder,
    states: Tensor,
    mask: Tensor,
    rules: TokenRules,
    limits: Sequence[int],
    check: Callable[[], None],
) -> list[Hypothesis]:
    """Generate one sequence per source.

    Parameters
    ----------
    network
        The network.
    states, mask
        Source states (N, S, D) and their mask (N, S).
    rules
        Forced and forbidden tokens.
    limits
        Maximum length of each sequence, in tokens.
    check
        Called at each position; may raise.
    """
    histories: list[list[int]] = [[] for _ in limits]
    sums = [0.0] * len(limits)
    for found in _positions(network, states, mask, rules, limits, histories, check):
        for source, log_probability in found:
            sums[source] += log_probability
    forced = len(rules.prefix)
    return [Hypothesis(tuple(tokens), total, forced) for tokens, total in zip(histories, sums, strict=True)]


def greedy_tokens(
    network: EncoderDecoder,
    states: Tensor,
    mask: Tensor,
    rules: TokenRules,
    limit: int,
    check: Callable[[], None],
) -> Iterator[Sequence[int]]:
    """Yield the tokens generated so far for one source (1, S, D), after each position."""
    histories: list[list[int]] = [[]]
    for _ in _positions(network, states, mask, rules, [limit], histories, check):
        yield histories[0]


def _positions(
    network: EncoderDecoder,
    states: Tensor,
    mask: Tensor,
    rules: TokenRules,
    limits: Sequence[int],
    histories: list[list[int]],
    check: Callable[[], None],
) -> Iterator[list[tuple[int, float]]]:
    """Append a token to each unfinished history; yield their numbers and the tokens' log-probabilities."""
    decoding = network.begin(states, mask)
    rows = list(range(len(limits)))  # the source of each row
    finished: set[int] = set()
    tokens = torch.full((len(rows),), rules.start, device=states.device)
    for place in range(max(limits, default=0)):
        check()
        logits = decoding.step(tokens)
        if place < len(rules.prefix):
            tokens = torch.full_like(tokens, rules.prefix[place])
            log_probabilities = [0.0] * len(rows)
        else:
            normalizer = logits.logsumexp(dim=1)
            rules.forbid(logits, [histories[row] for row in rows], [limits[row] for row in rows], normalizer)
            best, tokens = logits.max(dim=1)
            log_probabilities = (best - normalizer).tolist()
        found = []
        for row, token, value in zip(rows, tokens.tolist(), log_probabilities, strict=True):
            if row not in finished:
                histories[row].append(token)
                found.append((row, value))
                if token == rules.end or len(histories[row]) >= limits[row]:
                    finished.add(row)
        yield found
        left = [number for number, row in enumerate(rows) if row not in finished]
        if not left:
            return
        if len(left) <= (1 - _REMOVED_AT) * len(rows):
            kept = torch.tensor(left, device=states.device)
            decoding.select(kept, kept)
            tokens, rows = tokens[kept], [rows[number] for number in left]
