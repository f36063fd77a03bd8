"""Embeddings of several backbones, concatenated; implements `extractor.Extractor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_core.features.engines.engine import Array
from transfer_core.features.loading import Load, load_batches
from transfer_core.features.style import ViewChange
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import DataError

if TYPE_CHECKING:
    from transfer_core.features.extractor import Extractor


@dataclass(frozen=True)
class JointExtractor:
    """See `Extractor`. Embeddings are stored by member."""

    members: tuple[Extractor, ...]
    fingerprint: str = ""

    @property
    def width(self) -> int:
        """See `Extractor`."""
        return sum(member.width for member in self.members)

    @property
    def device(self) -> Device:
        """See `Extractor`."""
        return self.members[0].device

    @property
    def batch_size(self) -> int:
        """See `Extractor`."""
        return max(member.batch_size for member in self.members)

    def prepare(self) -> None:
        """See `Extractor`."""
        for member in self.members:
            member.prepare()

    def load(self, input: Any, name: str | None = None) -> tuple[Any, ...]:
        """See `Extractor`; an entry for each member."""
        return tuple(member.load(input, name) for member in self.members)

    def load_view(
        self, input: Any, augmentations: Sequence[ViewChange], rng: np.random.Generator
    ) -> tuple[Any, ...]:
        """See `Extractor`; the same view for each member."""
        return tuple(member.load_view(input, augmentations, deepcopy(rng)) for member in self.members)

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Array | DataError]]]:
        """See `Extractor`; in order."""
        first = 0
        for loaded in load_batches(loads, self.batch_size):
            rows: list[list[Array]] = [[] for _ in loaded]
            errors = {n: one for n, one in enumerate(loaded) if isinstance(one, DataError)}
            good = [n for n in range(len(loaded)) if n not in errors]
            for place, member in enumerate(self.members):
                parts = [partial(_part, loaded[n], place) for n in good]
                for batch in member.embed_all(parts, few):
                    for number, outcome in batch:
                        if isinstance(outcome, DataError):
                            errors[good[number]] = outcome
                        else:
                            rows[good[number]].append(outcome)
            yield [(first + n, errors.get(n) or np.concatenate(row)) for n, row in enumerate(rows)]
            first += len(loaded)


def _part(loaded: Any, place: int) -> Any:
    return loaded[place]
