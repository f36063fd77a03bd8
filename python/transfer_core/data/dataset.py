"""Datasets: columns of inputs, digests and targets, split into training, validation and test parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transfer_core.data.bad_input import named_reason, printable
from transfer_core.data.example import Part
from transfer_core.data.image import IMAGE
from transfer_core.data.labelling import Labelling, Targets
from transfer_core.data.modality import Modality
from transfer_core.runtime.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labelled inputs as columns of equal length; images stay on disk.

    Attributes
    ----------
    inputs
        Paths of images, texts, or rows of a table (see `Modality`).
    digests
        sha256 of each input, in hex.
    targets
        Encoded targets (N, …).
    stamps
        Path to the state of the file when its digest was taken.
    groups
        Rows with equal groups stay on one side of a split. Default: the digests.
    from_source
        Which rows are of a source domain, bool (N,). Default: none.
    subgroups
        The group of each row in metrics, None where it has none.
    """

    inputs: tuple[Any, ...]
    digests: tuple[str, ...]
    targets: Targets
    stamps: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    from_source: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    subgroups: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", self.digests)
        if not len(self.from_source):
            object.__setattr__(self, "from_source", np.zeros(len(self.inputs), bool))
        if not self.subgroups:
            object.__setattr__(self, "subgroups", (None,) * len(self.inputs))

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Iterable[int]) -> Dataset:
        """Select the rows at `indices`, in that order."""
        rows = [int(i) for i in indices]
        return Dataset(
            tuple(self.inputs[i] for i in rows),
            tuple(self.digests[i] for i in rows),
            self.targets[rows],
            self.stamps,
            tuple(self.groups[i] for i in rows),
            self.from_source[rows],
            tuple(self.subgroups[i] for i in rows),
        )

    def joined(self, *others: Dataset) -> Dataset:
        """Concatenate with the rows of `others`."""
        parts = (self, *others)
        return Dataset(
            tuple(input for part in parts for input in part.inputs),
            tuple(digest for part in parts for digest in part.digests),
            np.concatenate([part.targets for part in parts]),
            {path: stamp for part in parts for path, stamp in part.stamps.items()},
            tuple(group for part in parts for group in part.groups),
            np.concatenate([part.from_source for part in parts]),
            tuple(subgroup for part in parts for subgroup in part.subgroups),
        )


@dataclass(frozen=True, eq=False)
class Pool:
    """All usable examples before the split; `given` are the parts that the data names, `named` the groups of
    the user, both (N,)."""

    data: Dataset
    given: tuple[Part | None, ...]
    named: tuple[str | None, ...]

    def without(self, bad: Mapping[Any, str]) -> Pool:
        """Remove the inputs that are keys of `bad`."""
        rows = [row for row, input in enumerate(self.data.inputs) if input not in bad]
        given, named = tuple(self.given[row] for row in rows), tuple(self.named[row] for row in rows)
        return Pool(self.data.take(rows), given, named)


@dataclass(frozen=True, eq=False)
class Domains:
    """Data beside the labelled examples of the target domain: the rows of a source domain that join its
    training and validation parts, and unlabelled inputs of the target."""

    train: Dataset
    valid: Dataset
    unlabelled: Dataset

    def without(self, bad: Mapping[Any, str]) -> Domains:
        """Remove the inputs that are keys of `bad`."""
        return Domains(_without(self.train, bad), _without(self.valid, bad), _without(self.unlabelled, bad))


@dataclass(frozen=True, eq=False)
class DataSplits:
    """Training, validation and test parts of the data.

    Attributes
    ----------
    task
        Encoding and checks of labels.
    labels
        Sorted names of classes or labels, or names of a regression's outputs.
    train, valid, test
        Examples for fitting, for model selection, and for the final metrics.
    test_name
        The user's name of the test part: `valid` if they gave train and valid and no test.
    skipped
        Inputs skipped with `on_bad_input: :skip`, each as `name: reason`.
    columns
        Names of the cells of inputs that are rows of a table.
    modality
        The kind of input.
    pool
        The examples before the split.
    warnings
        About near-duplicates and groups.
    near_duplicates
        The number of examples that are near-duplicates.
    reserved
        The number of examples that are kept for a later test.
    domains
        A source domain, whose rows are in `train` and `valid` too, and unlabelled inputs of the target.
        Default: none.
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
    reserved: int = 0
    domains: Domains | None = None

    @property
    def parts(self) -> tuple[tuple[Any, ...], ...]:
        """The inputs of each part."""
        return self.train.inputs, self.valid.inputs, self.test.inputs

    def without(self, bad: Mapping[Any, str]) -> DataSplits:
        """Remove inputs that can't be decoded.

        Parameters
        ----------
        bad
            Path to reason, or to the message of the `DataError` that `decode_image` raised.

        Raises
        ------
        DataError
            A class has no training image left, or all inputs of a part are removed.
        """
        left = replace(
            self,
            train=_without(self.train, bad),
            valid=_without(self.valid, bad),
            test=_without(self.test, bad),
            skipped=self.skipped + tuple(named_reason(input, reason) for input, reason in bad.items()),
            pool=self.pool.without(bad) if self.pool else None,
            domains=self.domains.without(bad) if self.domains else None,
        )
        for name, before, after in (
            ("training", self.train, left.train),
            (self.test_name, self.test, left.test),
        ):
            if len(before) and not len(after):
                count = f"{len(before)} {name} {self.modality.many}"
                raise DataError(f"none of the {count} can be read: {left.skipped[-1]}")
        _check_all_labels_trained(self, left)
        return left


def _without(part: Dataset, bad: Mapping[Any, str]) -> Dataset:
    return part.take(i for i, path in enumerate(part.inputs) if path not in bad)


def _check_all_labels_trained(before: DataSplits, splits: DataSplits) -> None:
    noun = splits.task.noun
    counts = splits.task.counts(splits.train.targets, splits.labels)
    earlier = splits.task.counts(before.train.targets, splits.labels)
    for label, count, had in zip(splits.labels, counts, earlier, strict=False):
        if count == 0 and had > 0:
            raise DataError(
                f'{noun} "{printable(label)}" has no readable training {splits.modality.one} left '
                f"(replace its {splits.modality.many}, or remove the {noun})"
            )
