"""Embeddings of texts: tokenized at once, sorted by length, and each forwarded once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data.text import Text
from transfer_core.features.engines.choice import CHOICE_VERSION, Choice, choose
from transfer_core.features.engines.engine import Array
from transfer_core.features.engines.reference import Reference
from transfer_core.features.loading import Load, load_one
from transfer_core.features.network import NetworkExtractor
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.probe import PROBE_TEXTS
from transfer_core.features.style import ViewChange
from transfer_core.features.tokens import Reader, Tokens, padded
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import DataError

# Changes when embeddings of the same tokens do.
TEXT_VERSION = 3

# Tokens per forward pass: on a CPU the activations of so many stay near a core, a GPU wants more at once.
BATCH_TOKENS = {"cpu": 512, "cuda": 32_768, "mps": 8_192}

# So many texts are tokenised and sorted before the first is embedded.
_SORTED_AT_ONCE = 16_384


@dataclass(frozen=True)
class _Window:
    """Tokens (L, 2) of the text of this number, which has so many `windows`."""

    number: int
    windows: int
    tokens: Tokens


@dataclass(frozen=True)
class TextExtractor(NetworkExtractor):
    """Texts, as tokens (N, L, 2), through a backbone, those of about one length together."""

    reader: Reader

    @property
    def batch_size(self) -> int:
        """Short texts per forward pass."""
        return self._rows(32)

    def prepare(self) -> None:
        """See `Extractor`."""
        self.reader.prepare()
        super().prepare()

    def load(self, input: Text, name: str | None = None) -> Text:
        """The text itself: many are tokenised at once."""
        return input

    def load_view(self, input: Text, augmentations: Sequence[ViewChange], rng: np.random.Generator) -> Text:
        """The text itself: it has no other views."""
        return input

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Array | DataError]]]:
        """See `Extractor`."""
        for start in range(0, len(loads), _SORTED_AT_ONCE):
            texts = [load_one(load) for load in loads[start : start + _SORTED_AT_ONCE]]
            readable = [(i, text) for i, text in enumerate(texts, start) if not isinstance(text, DataError)]
            if len(readable) < len(texts):
                yield [(i, text) for i, text in enumerate(texts, start) if isinstance(text, DataError)]
            yield from self._averaged(self._windows(readable), few)

    def hidden(self, texts: Sequence[Text]) -> Iterator[list[tuple[int, Array]]]:
        """For each text its number with its hidden states (L, D), of a backbone that doesn't pool."""
        for done in self._forwarded(self._windows(list(enumerate(texts))), few=False):
            yield [(window.number, states[: len(window.tokens)]) for window, states in done]

    def _windows(self, numbered: Sequence[tuple[int, Any]]) -> list[_Window]:
        """The windows of all texts, the longest first."""
        all_windows = self.reader.windows([text for _, text in numbered])
        found = [
            _Window(number, len(windows), tokens)
            for (number, _), windows in zip(numbered, all_windows, strict=True)
            for tokens in windows
        ]
        return sorted(found, key=lambda window: -len(window.tokens))

    def _averaged(self, windows: list[_Window], few: bool) -> Iterator[list[tuple[int, Array | DataError]]]:
        """Each text's number with the average over its windows."""
        begun: dict[int, list[Array]] = {}
        for done in self._forwarded(windows, few):
            finished: list[tuple[int, Array | DataError]] = []
            for window, embedding in done:
                known = begun.setdefault(window.number, [])
                known.append(embedding)
                if len(known) == window.windows:
                    finished.append((window.number, np.mean(begun.pop(window.number), axis=0)))
            yield finished

    def _forwarded(self, windows: list[_Window], few: bool) -> Iterator[list[tuple[_Window, Array]]]:
        """The windows with what the network makes of them, a batch at a time.

        Every batch of windows of one padded length has the same number of rows. To the last bit, a result
        does not depend on what else was asked for, unless a `few` are.
        """
        if not windows:
            return
        if few and len(windows) <= self._rows(self._length(windows[0])):
            yield self._forward(windows, len(windows), few=True)
            return
        self.engine.prepare(few=False)
        batches = (
            (together[start : start + rows], rows)
            for length, group in groupby(windows, self._length)
            for rows, together in [(self._rows(length), list(group))]
            for start in range(0, len(together), rows)
        )
        if self.device.type == "cpu":
            yield from map_on_cores(lambda batch: self._forward(*batch), batches)
        else:
            yield from (self._forward(*batch) for batch in batches)

    def _forward(
        self, windows: Sequence[_Window], rows: int, few: bool = False
    ) -> list[tuple[_Window, Array]]:
        tokens = [window.tokens for window in windows]
        batch = padded(tokens + tokens[-1:] * (rows - len(tokens)), self._length(windows[0]))
        return list(zip(windows, self.run(batch, few), strict=False))

    def _length(self, window: _Window) -> int:
        """What its tokens are padded to, with those of other windows of about their number."""
        length = padded_length(len(window.tokens))
        most = self.backbone.facts.positions
        return min(length, most) if most else length

    def _rows(self, length: int) -> int:
        return max(1, self.choice.batch // length)


def padded_length(length: int) -> int:
    """The next of a few lengths, from 32 on at most a quarter more: 8, 16, … 64, 80, … 128, 160, …"""
    step = max(8, 1 << max(0, length.bit_length() - 3))
    return -(-length // step) * step


def text_extractor(
    backbone: AnyBackbone,
    device: Device,
    precision: str = "auto",
    options: TextOptions = TextOptions(),
    choice: Choice | None = None,
) -> TextExtractor:
    """An extractor of texts for `backbone`; without `choice`, the choice is measured once per machine."""
    reference, reader = Reference(backbone, partial(_probe, backbone), device), Reader(backbone, options)
    choice = choice or choose(backbone, reference, device, precision)
    choice = replace(choice, batch=BATCH_TOKENS[device.type])
    # Sorted: a backbone that is known from the cache has its files in another order.
    files = b"".join(content for _, content in sorted(backbone.files().items()))
    tokenizer = hashlib.sha256(files).hexdigest()
    read = (tokenizer, reader.max_length, reader.long)
    what = (backbone.identity, backbone.facts.embedding_width)
    how = (CHOICE_VERSION, device.type, choice)
    fingerprint = hashlib.sha256(repr((TEXT_VERSION, what, read, how)).encode()).hexdigest()
    return TextExtractor(backbone, device, choice, fingerprint, reference, reader)


def _probe(backbone: AnyBackbone) -> Array:
    """Texts that everybody has, as tokens (N, L, 2)."""
    reader = Reader(backbone, TextOptions())
    tokens = [windows[0] for windows in reader.windows(PROBE_TEXTS)]
    return padded(tokens, padded_length(max(map(len, tokens))))
