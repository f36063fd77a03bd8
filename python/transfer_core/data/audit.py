"""Data validation before training: errors, and warnings about misleading metrics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.dataset import Dataset, DataSplits
from transfer_core.data.example import Example, Found, Part
from transfer_core.data.labelling import Labelling, Targets
from transfer_core.data.modality import Modality
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.temp_dir import is_spooled

_FEW_MEASURED = 20


def check_split_marks(examples: Sequence[Example]) -> None:
    """Raise `DataError` unless no example has a split, or all have one and some are for training."""
    counts = Counter(example.split for example in examples)
    if None in counts and len(counts) > 1:
        name = next(printable(example.name) for example in examples if example.split is None)
        raise DataError(f"{name} names no split, but other rows do (one of: train, valid, test)")
    if None not in counts and "train" not in counts:
        raise DataError(f"the data has a split {' and '.join(_parts(counts))} but no train")


def check_variety(
    task: Labelling, labels: Sequence[str], targets: Targets, found: Found, modality: Modality
) -> None:
    """Raise `DataError` if the targets do not vary or a class folder is empty.

    Parameters
    ----------
    task
        The task that encoded the targets.
    labels
        K names of classes, labels or outputs.
    targets
        (N, …) encoded targets.
    found
        The examples, and the empty class folders.
    modality
        The kind of input, for messages.
    """
    if found.empty:
        folders = ", ".join(printable(folder) for folder in found.empty)
        raise DataError(f"no images in the class folder {folders} (add photos or remove it)")
    if problem := task.variety_problem(labels, targets, modality.many):
        hint = _wrapper_hint(found.examples) if task.categorical and len(labels) < 2 else ""
        raise DataError(f"{problem}{hint}")


def check_labels_kept(
    task: Labelling, labels: Sequence[str], before: Targets, after: Targets, modality: Modality
) -> None:
    """Raise `DataError` if `on_bad_input: :skip` removed all inputs of a class or label.

    Parameters
    ----------
    task
        The task that encoded the targets.
    labels
        K names of classes, labels or outputs.
    before, after
        Encoded targets (N, …) and (M, …), before and after bad inputs were skipped.
    modality
        The kind of input, for messages.
    """
    counts, left, noun = task.counts(before, labels), task.counts(after, labels), task.noun
    for index in np.flatnonzero((left == 0) & (counts > 0)).tolist():
        count = f"{counts[index]} {modality.many}"
        raise DataError(
            f"none of the {count} of the {noun} {listed([labels[index]])} can be used "
            f"(replace them, or remove the {noun})"
        )


def check_divisible(task: Labelling, labels: Sequence[str], data: Dataset, modality: Modality) -> None:
    """Raise `DataError` unless each label, each kind of object, or a regression has two distinct inputs.

    A class may have one: it is trained on, and not measured.
    """
    one = modality.one
    if np.issubdtype(data.targets.dtype, np.integer):
        return
    if not task.categorical:
        if len(set(data.digests)) < 2:
            raise DataError(f"there is only one distinct {one}; one can't be both trained on and measured")
        return
    distinct: dict[int, set[str]] = {}
    for digest, target in zip(data.digests, data.targets, strict=True):
        for index in task.indices(target):
            distinct.setdefault(index, set()).add(digest)
    single = [labels[index] for index in sorted(distinct) if len(distinct[index]) == 1]
    if single:
        raise DataError(
            f"only one distinct {one} of {listed(single)}: it can't be both trained on and measured "
            f"(add {_photos(modality)}, or remove the {task.noun})"
        )


def check_trained_labels(splits: DataSplits) -> None:
    """Raise `DataError` unless the training part has all labels of the other parts and varies."""
    task, labels = splits.task, splits.labels
    if not len(splits.train):
        raise DataError(f"no training {splits.modality.many} are left: all are also held out")
    trained = task.counts(splits.train.targets, labels)
    for name, part in (("valid", splits.valid), (splits.test_name, splits.test)):
        unseen = np.flatnonzero((task.counts(part.targets, labels) > 0) & (trained == 0))
        if len(unseen):
            raise DataError(
                f"{name} has labels that train never has: {listed([labels[i] for i in unseen])} "
                f"(add training {splits.modality.many}, or remove them there)"
            )
    if problem := task.variety_problem(labels, splits.train.targets, splits.modality.many, "training "):
        raise DataError(problem)


def same_columns(examples: Sequence[Example]) -> tuple[str, ...]:
    """The column names of the inputs; raises `DataError` unless all examples share them."""
    readable = [example for example in examples if example.problem is None]
    first = readable[0] if readable else examples[0]
    for example in readable:
        if example.columns != first.columns:
            raise DataError(
                f"{printable(example.name)} has the columns {listed(example.columns)}, but "
                f"{printable(first.name)} has {listed(first.columns)}"
            )
    return first.columns


def warnings(splits: DataSplits, weighted: bool) -> Iterator[str]:
    """Warn about data that makes metrics misleading; `weighted`: rare classes have larger weights."""
    yield from splits.task.data_warnings(splits, weighted)
    if splits.task.categorical:
        yield from _unmeasured(splits)
        yield from _alike(splits.task, splits.labels)
    if 0 < len(splits.test) < _FEW_MEASURED:
        measured = len(splits.test)
        yield f"only {measured} {splits.modality.many} are measured{splits.task.precision_of(measured)}"


def _unmeasured(splits: DataSplits) -> Iterator[str]:
    measured = splits.task.counts(splits.test.targets, splits.labels)
    missing = [label for label, count in zip(splits.labels, measured, strict=True) if count == 0]
    if missing and len(splits.test):
        one = splits.modality.one
        yield f"{splits.test_name} has no {one} of {listed(missing)}; the metrics do not cover it"


def _alike(task: Labelling, labels: Sequence[str]) -> Iterator[str]:
    by_lower: dict[str, list[str]] = {}
    for label in labels:
        by_lower.setdefault(label.casefold(), []).append(label)
    for same in by_lower.values():
        if len(same) > 1:
            yield f"the {task.nouns} {listed(same)} differ only in upper and lower case; are they one?"


def _photos(modality: Modality) -> str:
    """The word for additional inputs in a remedy."""
    return "photos" if modality.name == "image" else modality.many


def _wrapper_hint(examples: Sequence[Example]) -> str:
    """Suggest the folder one level down, as in unpacked archives: `photos/photos/cat`."""
    paths = (example.input for example in examples if isinstance(example.input, str))
    folders = {os.path.dirname(path) for path in paths if not is_spooled(path)}
    common = os.path.commonpath(folders) if len({os.path.isabs(f) for f in folders}) == 1 else ""
    if not common or common in folders or len(folders) < 2:
        return ""
    return f', did you mean "{printable(common)}"?'


def _parts(counts: Counter[Part | None]) -> list[str]:
    return [part for part in ("valid", "test") if part in counts]
