"""Embeddings of a source and a target domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_core.pipeline.artifacts import Frozen
from transfer_core.tasks.criteria import Array


@dataclass(frozen=True)
class Domains:
    """Embeddings of both domains, without random views.

    Attributes
    ----------
    source, targets
        (N, D) source examples in training and validation parts, and their encoded targets (N, …).
    unlabelled
        (U, D) inputs of the target domain.
    labelled, labelled_targets
        (L, D) labelled examples of the target in training and validation parts, and their targets (L, …).
    """

    source: Array
    targets: Array
    unlabelled: Array
    labelled: Array
    labelled_targets: Array

    @property
    def target(self) -> Array:
        """(U + L, D) all of the target."""
        return np.concatenate([self.unlabelled, self.labelled])

    @property
    def known(self) -> Array:
        """Classes (U + L,) of a classification, -1 where unknown."""
        return np.concatenate([np.full(len(self.unlabelled), -1), self.labelled_targets])


def domains_of(frozen: Frozen) -> Domains:
    """The domains among the embeddings of `frozen`."""
    assert frozen.unlabelled is not None
    splits, state, task = frozen.splits, frozen.state, frozen.task
    parts = [(splits.train, frozen.train[:: frozen.views]), (splits.valid, frozen.valid)]
    targets = [task.targets(part, state) for part, _ in parts]

    def of(source: bool) -> tuple[Array, Array]:
        masks = [part.from_source == source for part, _ in parts]
        rows = [rows[mask] for (_, rows), mask in zip(parts, masks, strict=True)]
        return np.concatenate(rows), np.concatenate(
            [one[mask] for one, mask in zip(targets, masks, strict=True)]
        )

    (source, targets_of_source), (labelled, labelled_targets) = of(True), of(False)
    return Domains(source, targets_of_source, frozen.unlabelled, labelled, labelled_targets)
