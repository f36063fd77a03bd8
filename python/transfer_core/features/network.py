"""Base of the extractors that run a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.features.engines.choice import Choice, open_engine
from transfer_core.features.engines.engine import Array, Engine
from transfer_core.features.engines.reference import Reference
from transfer_core.runtime.devices import Device


@dataclass(frozen=True)
class NetworkExtractor:
    """Base of the extractors of images and texts.

    The network is prepared when the first input comes: where all embeddings are known, none does.
    """

    backbone: AnyBackbone
    device: Device
    choice: Choice
    fingerprint: str
    reference: Reference

    @property
    def width(self) -> int:
        """D, the numbers in an embedding."""
        return self.backbone.facts.embedding_width

    def prepare(self) -> None:
        """See `Extractor`."""
        self.engine.prepare(few=True)

    def run(self, batch: Array, few: bool = False) -> Array:
        """The output of the network for a batch; see `Engine.run`."""
        return self.engine.run(batch, few)

    @cached_property
    def engine(self) -> Engine:
        """The engine, which later changes to the backbone don't affect once it is prepared."""
        return open_engine(self.choice, self.backbone, self.reference, self.device)
