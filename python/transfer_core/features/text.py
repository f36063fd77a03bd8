"""The frozen engine for texts: tokenised at once, sorted by length, and each forwarded once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.data.text import Text
from transfer_core.features.inference import Plan, Variants
from transfer_core.features.loading import Load, load_one
from transfer_core.features.network import NetworkExtractor
from transfer_core.features.parallel import map_on_cores, on_one_core
from transfer_core.features.plan import agreeing_plan, remembered_plan
from transfer_core.features.probe import PROBE_TEXTS
from transfer_core.features.tokens import Reader, padded
from transfer_core.recipe.schema import Augmentation, TextOptions
from transfer_core.runtime.errors import DataError

# Changes when embeddings of the same tokens do.
TEXT_VERSION = 2

# Tokens per forward pass: on a CPU the activations of so many stay near a core, a GPU wants more at once.
BATCH_TOKENS = {"cpu": 512, "cuda": 32_768, "mps": 8_192}

# So many texts are tokenised and sorted before the first is embedded.
_SORTED_AT_ONCE = 16_384


@dataclass(frozen=True)
class _Window:
    """Tokens (L, 2) of the text of this number, which has so many `windows`."""

    number: int
    windows: int
    tokens: Tensor


class TextVariants(Variants):
    """See `Variants`; the embeddings of tokens stay in float32."""

    @torch.no_grad()
    def _prepare(self, dtypes: Sequence[Sequence[str]]) -> list[list[nn.Module]]:
        layers = zip(list(self.backbone.blocks)[1:], dtypes[1:], strict=True)
        copies = [[self._copy(layer).to(getattr(torch, dtype)) for dtype in some] for layer, some in layers]
        return [[self._first] * len(dtypes[0]), *copies]

    @cached_property
    def _first(self) -> nn.Module:
        """The largest block, of which one copy will do."""
        return self._copy(self.backbone.blocks[0])

    def _copy(self, block: nn.Module) -> nn.Module:
        return copy.deepcopy(block).to(self.device).eval().requires_grad_(False)


@dataclass(frozen=True)
class TextExtractor(NetworkExtractor):
    """Texts, as tokens (N, L, 2), through a backbone, those of about one length together."""

    reader: Reader
    fingerprint: str

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

    def load_view(self, input: Text, augmentations: Sequence[Augmentation], rng: np.random.Generator) -> Text:
        """The text itself: it has no other views."""
        return input

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Tensor | DataError]]]:
        """See `Extractor`."""
        for start in range(0, len(loads), _SORTED_AT_ONCE):
            texts = [load_one(load) for load in loads[start : start + _SORTED_AT_ONCE]]
            readable = [(i, text) for i, text in enumerate(texts, start) if not isinstance(text, DataError)]
            if len(readable) < len(texts):
                yield [(i, text) for i, text in enumerate(texts, start) if isinstance(text, DataError)]
            yield from self._averaged(self._windows(readable), few)

    def hidden(self, texts: Sequence[Text]) -> Iterator[list[tuple[int, Tensor]]]:
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

    def _averaged(self, windows: list[_Window], few: bool) -> Iterator[list[tuple[int, Tensor | DataError]]]:
        """Each text's number with the average over its windows."""
        begun: dict[int, list[Tensor]] = {}
        for done in self._forwarded(windows, few):
            finished: list[tuple[int, Tensor | DataError]] = []
            for window, embedding in done:
                known = begun.setdefault(window.number, [])
                known.append(embedding)
                if len(known) == window.windows:
                    finished.append((window.number, torch.stack(begun.pop(window.number)).mean(dim=0)))
            yield finished

    def _forwarded(self, windows: list[_Window], few: bool) -> Iterator[list[tuple[_Window, Tensor]]]:
        """The windows with what the network makes of them, a batch at a time.

        Every batch of windows of one padded length has the same number of rows. To the last bit, a result
        does not depend on what else was asked for, unless a `few` are.
        """
        if not windows:
            return
        self.prepare()
        if few and len(windows) <= self._rows(self._length(windows[0])):
            with self._sharing.threads_for(len(windows)):
                done = self._forward(windows, len(windows))
            yield done
            return
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

    @torch.no_grad()
    def _forward(self, windows: Sequence[_Window], rows: int) -> list[tuple[_Window, Tensor]]:
        tokens = [window.tokens for window in windows]
        batch = padded(tokens + tokens[-1:] * (rows - len(tokens)), self._length(windows[0]))
        results = self.network(batch.to(self.device)).cpu()
        return list(zip(windows, results, strict=False))

    def _length(self, window: _Window) -> int:
        """What its tokens are padded to, with those of other windows of about their number."""
        length = padded_length(len(window.tokens))
        most = self.variants.backbone.facts.positions
        return min(length, most) if most else length

    def _rows(self, length: int) -> int:
        return max(1, self.plan.batch // length)


def padded_length(length: int) -> int:
    """The next of a few lengths, from 32 on at most a quarter more: 8, 16, … 64, 80, … 128, 160, …"""
    step = max(8, 1 << max(0, length.bit_length() - 3))
    return -(-length // step) * step


def text_extractor(
    backbone: Backbone, device: torch.device, precision: str = "auto", options: TextOptions = TextOptions()
) -> TextExtractor:
    """An extractor of texts for `backbone`; how it runs is measured, unless it was before (see `plan`)."""
    variants, reader = TextVariants(backbone, device), Reader(backbone, options)
    measure = partial(_measured_plan, variants, reader, precision)
    plan = on_one_core(lambda: remembered_plan(variants, precision, measure))
    tokenizer = hashlib.sha256(b"".join(backbone.assets.files().values())).hexdigest()
    read = (tokenizer, reader.max_length, reader.long)
    what = (backbone.identity, backbone.facts.embedding_width)
    how = (device.type, plan.exact, plan.dtype, plan.fused, plan.batch)
    fingerprint = hashlib.sha256(repr((TEXT_VERSION, what, read, how)).encode()).hexdigest()
    return TextExtractor(variants, plan, reader, fingerprint)


def _measured_plan(variants: Variants, reader: Reader, precision: str) -> Plan:
    """As for photos, on texts that everybody has; the first block takes tokens and stays exact."""
    tokens = [windows[0] for windows in reader.windows(PROBE_TEXTS)]
    probe = padded(tokens, padded_length(max(map(len, tokens)))).to(variants.device)
    plan = agreeing_plan(variants, precision, [probe], begin=1)
    return replace(plan, batch=BATCH_TOKENS[variants.device.type])
