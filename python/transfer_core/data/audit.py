"""What would make a training fail, or its figures mislead, found before anything expensive."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.dataset import Dataset, DataSplits, Targets, Task, label_counts
from transfer_core.data.example import Example, Found, Part
from transfer_core.data.modality import Modality
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.temp_dir import is_spooled

_IMBALANCE = 10
_FEW_MEASURED = 20


def check_split_marks(examples: Sequence[Example]) -> None:
    """Either no example names its split or all do, and some are there to train on."""
    counts = Counter(example.split for example in examples)
    if None in counts and len(counts) > 1:
        name = next(printable(example.name) for example in examples if example.split is None)
        raise DataError(f"{name} names no split, but other rows do (one of: train, valid, test)")
    if None not in counts and "train" not in counts:
        raise DataError(f"the data has a split {' and '.join(_parts(counts))} but no train")


def check_variety(
    task: Task, labels: Sequence[str], targets: Targets, found: Found, modality: Modality
) -> None:
    """There is something to tell apart, and no class folder is empty."""
    if found.empty:
        folders = ", ".join(printable(folder) for folder in found.empty)
        raise DataError(f"no images in the class folder {folders} (add photos or remove it)")
    if task == "classification" and len(labels) < 2:
        raise DataError(
            f"all {modality.many} have the label {listed(labels)}; a classifier needs two classes"
            f"{_wrapper_hint(found.examples)}"
        )
    if task == "multi_label":
        _check_label_variety(labels, targets)
    if task == "regression":
        _check_value_variety(targets)


def _check_value_variety(targets: Targets, what: str = "target") -> None:
    """Not all are the same."""
    if (targets == targets[0]).all():
        same = ", ".join(f"{value:.15g}" for value in targets[0])
        raise DataError(f"every {what} is {same}; nothing to learn")


def _check_label_variety(labels: Sequence[str], targets: Targets) -> None:
    """Each label belongs to some examples and not to others."""
    counts = label_counts(targets, labels).tolist()
    never, always = (
        [name for name, n in zip(labels, counts, strict=True) if n == edge] for edge in (0, len(targets))
    )
    if never:
        raise DataError(f"no example has the label {listed(never)}: leave it out, or add examples with it")
    if always:
        raise DataError(
            f"every example has the label {listed(always)}, there is nothing to tell apart: leave it out, or "
            "add examples without it"
        )


def check_labels_kept(
    task: Task, labels: Sequence[str], before: Targets, after: Targets, modality: Modality
) -> None:
    """No class or label lost all its inputs to `on_bad_input: :skip`."""
    counts, left, noun = label_counts(before, labels), label_counts(after, labels), _noun(task)
    for index in np.flatnonzero(left == 0).tolist():
        count = f"{counts[index]} {modality.many}"
        raise DataError(
            f"none of the {count} of the {noun} {listed([labels[index]])} can be used "
            f"(replace them, or remove the {noun})"
        )


def check_divisible(task: Task, labels: Sequence[str], data: Dataset, modality: Modality) -> None:
    """Each class or label, or a regression as a whole, has two distinct inputs: one to train on, one to
    measure."""
    one = modality.one
    if task == "regression":
        if len(set(data.digests)) < 2:
            raise DataError(f"there is only one distinct {one}; one can't be both trained on and measured")
        return
    distinct: dict[int, set[str]] = {}
    for digest, target in zip(data.digests, data.targets, strict=True):
        for index in np.flatnonzero(target) if task == "multi_label" else [int(target)]:
            distinct.setdefault(int(index), set()).add(digest)
    single = [labels[index] for index in sorted(distinct) if len(distinct[index]) == 1]
    if single:
        raise DataError(
            f"only one distinct {one} of {listed(single)}: it can't be both trained on and measured "
            f"(add {_photos(modality)}, or remove the {_noun(task)})"
        )


def check_trained_labels(splits: DataSplits) -> None:
    """Every class or label that is measured or chosen by is trained on, no label with every example, and no
    single value alone."""
    if splits.task == "regression":
        if not len(splits.train):
            raise DataError(f"no training {splits.modality.many} are left: all are also held out")
        _check_value_variety(splits.train.targets, "training target")
        return
    trained = label_counts(splits.train.targets, splits.labels)
    for name, part in (("valid", splits.valid), (splits.test_name, splits.test)):
        unseen = np.flatnonzero((label_counts(part.targets, splits.labels) > 0) & (trained == 0))
        if len(unseen):
            raise DataError(
                f"{name} has labels that train never has: {listed([splits.labels[i] for i in unseen])} "
                f"(add training {splits.modality.many}, or remove them there)"
            )
    if splits.task == "multi_label":
        _check_label_variety(splits.labels, splits.train.targets)


def warnings(splits: DataSplits, weighted: bool) -> Iterator[str]:
    """Properties of the data that make figures mislead; `weighted`: rare classes weigh more."""
    if splits.task == "classification":
        yield from _imbalance(splits, weighted)
    if splits.task != "regression":
        yield from _unmeasured(splits)
        yield from _alike(splits.task, splits.labels)
    if 0 < len(splits.test) < _FEW_MEASURED:
        few = f"only {len(splits.test)} {splits.modality.many} are measured"
        if splits.task == "classification":
            few += f", each of them is {100 / len(splits.test):.0f} points of accuracy"
        yield few


def _imbalance(splits: DataSplits, weighted: bool) -> Iterator[str]:
    counts = np.bincount(splits.train.targets, minlength=len(splits.labels))
    most, least = int(counts.argmax()), int(counts.argmin())
    if weighted or counts[most] < _IMBALANCE * counts[least]:
        return
    yield (
        f"the classes are unbalanced: {counts[most]} training {splits.modality.many} of "
        f"{listed([splits.labels[most]])}, {counts[least]} of {listed([splits.labels[least]])}. "
        "Compare balanced_accuracy and macro_f1, not accuracy. Try: class_weights: :balanced"
    )


def _unmeasured(splits: DataSplits) -> Iterator[str]:
    measured = label_counts(splits.test.targets, splits.labels)
    missing = [label for label, count in zip(splits.labels, measured, strict=True) if count == 0]
    if missing and len(splits.test):
        one = splits.modality.one
        yield f"{splits.test_name} has no {one} of {listed(missing)}; the metrics say nothing about it"


def _alike(task: Task, labels: Sequence[str]) -> Iterator[str]:
    by_lower: dict[str, list[str]] = {}
    for label in labels:
        by_lower.setdefault(label.casefold(), []).append(label)
    for same in by_lower.values():
        if len(same) > 1:
            nouns = "classes" if task == "classification" else "labels"
            yield f"the {nouns} {listed(same)} differ only in upper and lower case; are they one?"


def _photos(modality: Modality) -> str:
    """What people call images that they could add."""
    return "photos" if modality.name == "image" else modality.many


def _wrapper_hint(examples: Sequence[Example]) -> str:
    """Unpacked archives often hold the class folders one level down: `photos/photos/cat`."""
    paths = (example.input for example in examples if isinstance(example.input, str))
    folders = {os.path.dirname(path) for path in paths if not is_spooled(path)}
    common = os.path.commonpath(folders) if len({os.path.isabs(f) for f in folders}) == 1 else ""
    if not common or common in folders or len(folders) < 2:
        return ""
    return f', did you mean "{printable(common)}"?'


def _noun(task: Task) -> str:
    return "class" if task == "classification" else "label"


def _parts(counts: Counter[Part | None]) -> list[str]:
    return [part for part in ("valid", "test") if part in counts]
