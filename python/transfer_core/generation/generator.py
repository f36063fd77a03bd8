"""Generate texts for sources of any number and length, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.sequence_assets import codec
from transfer_core.backbones.encoder_decoder.text_codec import Ids
from transfer_core.features.parallel import map_on_cores
from transfer_core.generation.beam_search import BeamSearch
from transfer_core.generation.greedy_search import GreedySearch
from transfer_core.generation.hypothesis import Hypothesis
from transfer_core.generation.running_batch import RunningBatch, Search
from transfer_core.generation.token_rules import TokenRules
from transfer_core.recipe.schema import Generation, Languages, TextOptions
from transfer_core.runtime.devices import Device, threads_for_work

# Sources per batch. Their number and not that of their tokens, so that a batch is the same on every machine.
BATCH = 32
# Without a maximum, an output may be this many times as long as its source, plus some tokens.
_FACTOR, _MORE = 3, 50
# Tokens without a table of positions.
_MOST = 100_000


class Limits(NamedTuple):
    """The maximum number of tokens for a source of S tokens: `fixed`, without it `factor` S + `more`, and
    `most` in any case."""

    most: int
    fixed: int | None
    factor: int = _FACTOR
    more: int = _MORE

    def of(self, length: int) -> int:
        """The limit for a source of so many tokens."""
        return min(self.most, self.fixed or self.factor * length + self.more)


Batches: TypeAlias = Iterable[list[list[Hypothesis]]]


def _never() -> None:
    """Do not cancel."""


class TextGenerator:
    """Generates texts with a backbone, as a recipe asks.

    Parameters
    ----------
    backbone
        The network.
    text, languages, generation
        Words of the recipe.
    device
        Where it runs.
    """

    def __init__(
        self,
        backbone: EncoderDecoder,
        text: TextOptions,
        languages: Languages,
        generation: Generation,
        device: Device,
    ) -> None:
        self.codec = codec(backbone, languages, text.prefix)
        backbone.eval()
        self.network = backbone
        self.device = device
        self.longest = text.max_length or backbone.facts.max_length or backbone.shape.longest
        self._generation = generation
        self._parameters = sum(parameter.numel() for parameter in backbone.blocks.parameters())
        layout, shape = self.codec.layout, backbone.shape
        numbers = [token for token in (layout.start, *layout.target_before) if isinstance(token, int)]
        most = shape.longest - 1 if shape.positions == "learned" else _MOST
        self.limits = Limits(most, generation.max_length)
        self.rules = TokenRules(
            start=numbers[0],
            prefix=tuple(numbers[1:]),
            end=shape.end,
            banned=tuple(token for token in shape.banned if token != shape.end),
            no_repeat=generation.no_repeat,
            forced_end=shape.forced_end,
        )

    def sources(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of sources; longer ones than `longest` are cut."""
        return [self.cut(tokens) for tokens in self.codec.sources(texts)]

    def cut(self, tokens: Ids) -> Ids:
        """Cut a source to `longest` tokens, with the special ones at its end."""
        if len(tokens) <= self.longest:
            return tokens
        after = len(self.codec.layout.source_after)
        return np.concatenate([tokens[: self.longest - after], tokens[len(tokens) - after :]])

    def generate(
        self,
        sources: Sequence[Ids],
        check: Callable[[], None] = _never,
        track: Callable[[Batches], Batches] = iter,
    ) -> list[list[Hypothesis]]:
        """Generate hypotheses for each source, the best first.

        Parameters
        ----------
        sources
            Results of `sources`.
        check
            Called often; may raise.
        track
            Wraps the iteration over batches.
        """
        found: list[list[Hypothesis]] = [[]] * len(sources)
        order = sorted(range(len(sources)), key=lambda number: -len(sources[number]))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]

        def work(numbers: Sequence[int]) -> list[list[Hypothesis]]:
            return self._batch([sources[number] for number in numbers], check)

        if len(batches) > 1 and self.device.type == "cpu":
            results: Batches = map_on_cores(work, batches)
        else:
            results = map(work, batches)
        for numbers, result in zip(batches, track(results), strict=True):
            for number, hypotheses in zip(numbers, result, strict=True):
                found[number] = hypotheses
        return found

    def text(self, hypothesis: Hypothesis) -> str:
        """The text of a hypothesis."""
        return self.codec.text(hypothesis.tokens)

    def pieces(self, source: Ids, check: Callable[[], None] = _never) -> Generator[str, None, Hypothesis]:
        """Yield the text of a greedy generation piece by piece, as soon as each is final; return its tokens.

        Joined, the pieces are the text.
        """
        batch = self.running_batch(beams=1)
        (search,) = self.join(batch, [source], check)
        yielded = ""
        while not search.done:
            check()
            self.step(batch)
            whole = self.codec.text(search.histories[0])
            # The last word may still change: a piece of it can be missing.
            ready = whole if search.done else whole.rpartition(" ")[0]
            if len(ready) > len(yielded) and (search.done or ready.startswith(yielded)):
                yield ready[len(yielded) :]
                yielded = ready
        return self.hypotheses(search)[0]

    def running_batch(self, beams: int | None = None) -> RunningBatch:
        """An empty batch for `join`; `beams` default: those of the recipe."""
        return RunningBatch(self.network, self.rules, beams or self._generation.beams)

    @torch.inference_mode()
    def join(
        self, batch: RunningBatch, sources: Sequence[Ids], check: Callable[[], None] = _never
    ) -> list[Search]:
        """Encode sources and add them to a batch; returns their searches."""
        tokens, mask = self._padded(sources)
        with threads_for_work(tokens.numel() * self._parameters):
            states = self.network.encode(tokens, mask, check)
        searches = [self._search(self.limits.of(len(source)), batch.beams) for source in sources]
        batch.join(states, mask, searches)
        return searches

    @torch.inference_mode()
    def step(self, batch: RunningBatch) -> None:
        """Append a token to all texts of a batch, on more than one core if it is large."""
        with threads_for_work(len(batch) * batch.beams * self._parameters):
            batch.step()

    def hypotheses(self, search: Search) -> list[Hypothesis]:
        """The results of a search that is done, the best first."""
        return search.hypotheses(len(self.rules.prefix))

    def prepare(self) -> None:
        """Read the tokenizer and generate once, so that the first text is not slower."""
        self.codec.prepare()
        self.generate(self.sources(["."]))

    @torch.inference_mode()
    def _batch(self, sources: Sequence[Ids], check: Callable[[], None]) -> list[list[Hypothesis]]:
        batch = self.running_batch()
        searches = self.join(batch, sources, check)
        while len(batch):
            check()
            self.step(batch)
        return [self.hypotheses(search) for search in searches]

    def _search(self, limit: int, beams: int) -> Search:
        if beams == 1:
            return GreedySearch(limit, self.rules.end)
        return BeamSearch(beams, limit, self._generation.length_penalty, self.rules.end)

    def _padded(self, sources: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(source) for source in sources)
        tokens = np.full((len(sources), longest), self.network.shape.pad, np.int64)
        mask = np.zeros((len(sources), longest), bool)
        for row, source in enumerate(sources):
            tokens[row, : len(source)], mask[row, : len(source)] = source, True
        return torch.from_numpy(tokens).to(self.device), torch.from_numpy(mask).to(self.device)
