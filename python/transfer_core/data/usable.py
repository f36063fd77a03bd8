"""Leave out the images that can't be used, or raise on the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from transfer_core.data.bad_input import bad_input, counted, listed, printable
from transfer_core.data.dataset import Dataset, Targets, Task
from transfer_core.data.example import Example
from transfer_core.data.modality import Modality
from transfer_core.errors import DataError
from transfer_core.progress import Progress

OnBadInput: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True)
class Usable:
    """The examples that can be used, as they were found and as a dataset; `skipped` are the others."""

    examples: list[Example]
    data: Dataset
    skipped: tuple[str, ...]


def keep_usable(
    examples: Sequence[Example],
    task: Task,
    labels: Sequence[str],
    targets: Targets,
    on_bad_input: OnBadInput,
    modality: Modality,
    progress: Progress,
) -> Usable:
    """Fingerprint all inputs; those that are no images (or texts), or have two labels, can't be used.

    Raises
    ------
    DataError
        Some can't be used and `on_bad_input` is `raise`, or none can.
    """
    prints = modality.fingerprints([example.input for example in examples], progress)
    digests = [found.digest for found in prints]
    bad = {row: found.problem for row, found in enumerate(prints) if found.problem}
    if bad and on_bad_input == "raise":
        raise _bad_input(bad, examples, modality, others=len(bad) - 1)
    if task != "regression" and modality.has_one_label:
        good = [row for row in range(len(examples)) if row not in bad]
        twice = _with_two_labels(good, examples, labels, targets, digests)
        if twice and on_bad_input == "raise":
            raise _bad_input(twice, examples, modality, others=len(twice) - 2)
        bad |= twice
    skipped = tuple(f"{printable(examples[row].name)}: {reason}" for row, reason in sorted(bad.items()))
    kept = [row for row in range(len(examples)) if row not in bad]
    if not kept:
        raise DataError(f"none of the {len(examples)} {modality.many} can be used: {skipped[0]}")
    if skipped:
        many = counted(len(skipped), modality.one, modality.many)
        progress.warning(f"left out {many} that can't be used, for example {skipped[0]}")
    inputs = tuple(example.input for example in examples)
    stamps = {input: found.stamp for input, found in zip(inputs, prints, strict=True) if found.stamp}
    everything = Dataset(inputs, tuple(digests), targets, stamps)
    return Usable([examples[row] for row in kept], everything.take(kept), skipped)


def _bad_input(
    bad: Mapping[int, str], examples: Sequence[Example], modality: Modality, others: int
) -> DataError:
    row = min(bad)
    path = examples[row].input if modality.name == "image" else None
    return bad_input(examples[row].name, bad[row], path, others)


def _with_two_labels(
    rows: Sequence[int],
    examples: Sequence[Example],
    labels: Sequence[str],
    targets: Targets,
    digests: Sequence[str],
) -> dict[int, str]:
    """The rows whose image also occurs with another label, or other labels, each with the reason."""
    kinds = targets if targets.ndim == 1 else np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    differing = _differing(kinds, digests, rows)
    return {
        row: f"it is the same image as {printable(examples[other].name)}, "
        f"which has {_labels_of(targets[other], labels)}"
        for row, other in differing.items()
    }


def _labels_of(target: Any, labels: Sequence[str]) -> str:
    if target.ndim == 0:
        return f"the label {listed([labels[target]])}"
    own = [label for label, has in zip(labels, target, strict=True) if has]
    return f"the labels {listed(own)}" if own else "no label"


def _differing(targets: Targets, digests: Sequence[str], rows: Sequence[int]) -> dict[int, int]:
    """Each of `rows` whose image occurs with another class too, and the first row that says so."""
    copies: dict[str, list[int]] = {}
    for row in rows:
        copies.setdefault(digests[row], []).append(row)
    differing = {}
    for same in copies.values():
        first: dict[int, int] = {}
        for row in same:
            first.setdefault(int(targets[row]), row)
        if len(first) > 1:
            for row in same:
                differing[row] = min(other for target, other in first.items() if target != targets[row])
    return dict(sorted(differing.items()))
