"""Examples of an earlier training, by digest: new data must not repeat or contradict them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_core.data.bad_input import counted, listed, printable
from transfer_core.data.labelling import Labelling, Targets
from transfer_core.data.modality import Modality
from transfer_core.data.usable import Usable
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

# Hex digits by which inputs are compared.
DIGITS = 16


@dataclass(frozen=True)
class Known:
    """The `labels` of an earlier training, and the targets of its examples by digest; None if only the digest
    is stored. `columns` are those of the rows of a table."""

    labels: tuple[str, ...]
    targets: Mapping[str, Any]
    columns: tuple[str, ...] = ()

    def all_labels(self, labels: tuple[str, ...], task: Labelling) -> tuple[str, ...]:
        """These labels and new ones; raises `DataError` for other outputs of a regression."""
        if task.categorical:
            return tuple(sorted({*self.labels, *labels}))
        if labels != self.labels:
            raise DataError(f"the model predicts {listed(self.labels)}, but the data has {listed(labels)}")
        return labels

    def remapped(self, targets: Targets, labels: tuple[str, ...]) -> Targets:
        """Stored targets in the order of `labels`."""
        if targets.dtype.kind == "f":
            return targets
        places = np.array([labels.index(label) for label in self.labels])
        if targets.ndim == 1:
            return np.asarray(places[targets])
        wide = np.zeros((len(targets), len(labels)), targets.dtype)
        wide[:, places] = targets
        return wide

    def without_known(
        self,
        usable: Usable,
        task: Labelling,
        labels: tuple[str, ...],
        columns: tuple[str, ...],
        modality: Modality,
        progress: Progress,
    ) -> Usable:
        """Leave out inputs of the earlier training; raises `DataError` if one has another label now, if none
        is left, or for other columns."""
        if columns != self.columns:
            expected = f"the model takes the columns {listed(self.columns)}"
            raise DataError(f"{expected}, but the data has {listed(columns)}")
        new = []
        for row, digest in enumerate(usable.data.digests):
            key = digest[:DIGITS]
            if key not in self.targets:
                new.append(row)
                continue
            before, now = self.targets[key], usable.data.targets[row]
            if before is not None and task.categorical:
                before = self.remapped(np.asarray(before)[None], labels)[0]
                if not np.array_equal(before, now):
                    was, given = task.describe(before, labels), task.describe(now, labels)
                    name = printable(usable.examples[row].name)
                    raise DataError(f"{name} is {given}, but was {was} in the training of the model")
        many = counted(len(usable.examples), modality.one, modality.many)
        if not new:
            raise DataError(f"all {many} are of the training of the model: nothing is new")
        if len(new) < len(usable.examples):
            left_out = len(usable.examples) - len(new)
            progress.warning(f"left out {left_out} of {many}: they are of the training of the model")
        return Usable([usable.examples[row] for row in new], usable.data.take(new), usable.skipped)
