"""The end of this room: columns of paths, digests and targets, in three parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from transfer_core.data.bad_input import printable, told
from transfer_core.data.example import Part
from transfer_core.data.image import IMAGE
from transfer_core.data.labelling import Labelling, Targets
from transfer_core.data.modality import Modality
from transfer_core.runtime.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Columns of equal length; images themselves stay on disk.

    `inputs` are paths of images, texts, or rows of a table (see `Modality`), `digests` the sha256 of their
    bytes in hex, `targets` as the task encodes them (N, …).
    `stamps` tell a file's state when its digest was taken, by path. Rows with the same of `groups` stay
    on one side of a split; by default these are the digests.
    """

    inputs: tuple[Any, ...]
    digests: tuple[str, ...]
    targets: Targets
    stamps: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", self.digests)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Iterable[int]) -> Dataset:
        """The rows at `indices`, in that order."""
        rows = [int(i) for i in indices]
        return Dataset(
            tuple(self.inputs[i] for i in rows),
            tuple(self.digests[i] for i in rows),
            self.targets[rows],
            self.stamps,
            tuple(self.groups[i] for i in rows),
        )

    def joined(self, *others: Dataset) -> Dataset:
        """Its rows, then those of the others."""
        parts = (self, *others)
        return Dataset(
            tuple(input for part in parts for input in part.inputs),
            tuple(digest for part in parts for digest in part.digests),
            np.concatenate([part.targets for part in parts]),
            {path: stamp for part in parts for path, stamp in part.stamps.items()},
            tuple(group for part in parts for group in part.groups),
        )


@dataclass(frozen=True, eq=False)
class Pool:
    """All usable examples; `given` are the parts that the data names, `named` the groups of the user, both
    (N,)."""

    data: Dataset
    given: tuple[Part | None, ...]
    named: tuple[str | None, ...]

    def without(self, bad: Mapping[Any, str]) -> Pool:
        """Leave out the inputs that are keys of `bad`."""
        rows = [row for row, input in enumerate(self.data.inputs) if input not in bad]
        given, named = tuple(self.given[row] for row in rows), tuple(self.named[row] for row in rows)
        return Pool(self.data.take(rows), given, named)


@dataclass(frozen=True, eq=False)
class DataSplits:
    """`train` fits, `valid` chooses, `test` is only measured.

    `labels` are the names of classes or labels in sorted order, or those of a regression's outputs.
    `test_name` is what the user calls the measured part: `valid` where they gave train and valid and no test.
    `skipped` are the inputs left out with `on_bad_input: :skip`, each as `name: reason`. `columns` name the
    cells of inputs that are rows of a table. `modality` says what inputs are. `pool` has the
    examples before they were divided, `warnings` are about near-duplicates, of which there
    are so many, and groups.
    """

    task: Labelling
    labels: tuple[str, ...]
    train: Dataset
    valid: Dataset
    test: Dataset
    test_name: Literal["valid", "test"] = "test"
    skipped: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    modality: Modality = IMAGE
    pool: Pool | None = None
    warnings: tuple[str, ...] = ()
    near_duplicates: int = 0

    @property
    def parts(self) -> tuple[tuple[Any, ...], ...]:
        """The inputs of each part."""
        return self.train.inputs, self.valid.inputs, self.test.inputs

    def without(self, bad: Mapping[Any, str]) -> DataSplits:
        """Leave out inputs that turned out to be undecodable.

        Parameters
        ----------
        bad
            Path to reason; the message of the `DataError` that `decode_image` raised will do.

        Raises
        ------
        DataError
            A class has no training image left, or a part that was there has none at all.
        """
        left = replace(
            self,
            train=_without(self.train, bad),
            valid=_without(self.valid, bad),
            test=_without(self.test, bad),
            skipped=self.skipped + tuple(told(input, reason) for input, reason in bad.items()),
            pool=self.pool.without(bad) if self.pool else None,
        )
        for name, before, after in (
            ("training", self.train, left.train),
            (self.test_name, self.test, left.test),
        ):
            if len(before) and not len(after):
                count = f"{len(before)} {name} {self.modality.many}"
                raise DataError(f"none of the {count} can be read: {left.skipped[-1]}")
        _check_all_labels_trained(left)
        return left


def _without(part: Dataset, bad: Mapping[Any, str]) -> Dataset:
    return part.take(i for i, path in enumerate(part.inputs) if path not in bad)


def _check_all_labels_trained(splits: DataSplits) -> None:
    noun = splits.task.noun
    counts = splits.task.counts(splits.train.targets, splits.labels)
    for label, count in zip(splits.labels, counts, strict=False):
        if count == 0:
            raise DataError(
                f'{noun} "{printable(label)}" has no readable training {splits.modality.one} left '
                f"(replace its {splits.modality.many}, or remove the {noun})"
            )
