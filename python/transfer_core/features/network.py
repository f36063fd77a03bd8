"""Base of the extractors that run a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from transfer_core.features.inference import Inference, Plan, Variants
from transfer_core.features.parallel import on_one_core
from transfer_core.features.sharing import Sharing


@dataclass(frozen=True)
class NetworkExtractor:
    """Base of the extractors of images and texts.

    The network is prepared when the first input comes: where all embeddings are known, none does.
    """

    variants: Variants
    plan: Plan

    @property
    def width(self) -> int:
        """D, the numbers in an embedding."""
        return self.variants.backbone.facts.embedding_width

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.variants.device

    def prepare(self) -> None:
        """See `Extractor`."""
        self.network  # noqa: B018

    @cached_property
    def network(self) -> Inference:
        """The network, batch -> (N, D): a copy that later changes to the backbone don't affect."""
        # oneDNN selects the layout of weights by the number of threads.
        network = on_one_core(lambda: self.variants.network(self.plan))
        self.variants.forget()
        return network

    @cached_property
    def _sharing(self) -> Sharing:
        return Sharing()
