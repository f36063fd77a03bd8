"""The interface of an inference engine."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class Unusable(Exception):
    """An engine is not installed, or can't run this network on this device in this precision."""


class Engine(Protocol):
    """Runs a frozen network; several threads may use it at the same time."""

    def prepare(self, few: bool) -> None:
        """Make ready what the first batch would wait for.

        Raises
        ------
        Unusable
            If the network can't be run.
        """

    def run(self, batch: Array, few: bool = False) -> Array:
        """Compute the embeddings of a batch.

        Parameters
        ----------
        batch
            Images (N, H, W, 3) uint8, or texts (N, L, 2) int32: ids and types, -1 for padding.
        few
            Whether all cores that this thread may use share the batch; otherwise it runs on one core, beside
            other batches.

        Returns
        -------
        Array
            (N, D) float32.
        """
