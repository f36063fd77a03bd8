"""Skip unusable inputs, or raise one error that lists all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from transfer_core.data.bad_input import BadInput, bad_inputs, counted, listed, printable
from transfer_core.data.dataset import Dataset
from transfer_core.data.example import Example
from transfer_core.data.fingerprint import Fingerprint
from transfer_core.data.labelling import Labelling, Targets
from transfer_core.data.modality import Modality
from transfer_core.runtime.bad_input_report import listed_in_full
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

OnBadInput: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True)
class Usable:
    """Usable examples, raw and as a dataset; `skipped` are messages about the others."""

    examples: list[Example]
    data: Dataset
    skipped: tuple[str, ...]


def keep_usable(
    examples: Sequence[Example],
    task: Labelling,
    labels: Sequence[str],
    targets: Targets,
    on_bad_input: OnBadInput,
    modality: Modality,
    progress: Progress,
) -> Usable:
    """Fingerprint all inputs and skip, or report, invalid ones and those with contradictory labels.

    Parameters
    ----------
    examples
        N examples.
    task
        The task that encoded the targets.
    labels
        K names of classes, labels or outputs.
    targets
        (N, …) encoded targets.
    on_bad_input
        `raise`, or `skip` to leave unusable inputs out with a warning.
    modality
        The kind of input.
    progress
        Progress events and cancellation.

    Raises
    ------
    DataError
        Some can't be used and `on_bad_input` is `raise`, or none can.
    """
    prints = _fingerprints(examples, modality, progress)
    digests = [found.digest for found in prints]
    bad = {row: found.problem for row, found in enumerate(prints) if found.problem}
    good = [row for row in range(len(examples)) if row not in bad]
    if task.categorical and modality.has_one_label:
        bad |= _with_two_labels(good, examples, task, labels, targets, digests)
    if bad and on_bad_input == "raise":
        undecodable = modality.undecodable([examples[row].input for row in good], progress)
        raise _all_bad({**{good[i]: reason for i, reason in undecodable.items()}, **bad}, examples, modality)
    skipped = tuple(f"{printable(examples[row].name)}: {reason}" for row, reason in sorted(bad.items()))
    kept = [row for row in range(len(examples)) if row not in bad]
    if not kept:
        raise DataError(f"none of the {len(examples)} {modality.many} can be used: {skipped[0]}")
    if skipped:
        many = counted(len(skipped), modality.one, modality.many)
        progress.warning(f"left out {many} that can't be used: {listed_in_full(skipped)}")
    inputs = tuple(example.input for example in examples)
    stamps = {input: found.stamp for input, found in zip(inputs, prints, strict=True) if found.stamp}
    subgroups = tuple(example.subgroup for example in examples)
    everything = Dataset(inputs, tuple(digests), targets, stamps, subgroups=subgroups)
    return Usable([examples[row] for row in kept], everything.take(kept), skipped)


@contextmanager
def naming_all(parts: Sequence[Dataset], modality: Modality, progress: Progress) -> Iterator[None]:
    """Turn a `BadInput` from the block into one error that lists all undecodable inputs of `parts`."""
    try:
        yield
    except BadInput:
        inputs = list(dict.fromkeys(input for part in parts for input in part.inputs))
        reasons = {inputs[row]: why for row, why in modality.undecodable(inputs, progress).items()}
        if not reasons:
            raise
        raise bad_inputs(reasons, modality.many, list(reasons)[:1]) from None


def _fingerprints(
    examples: Sequence[Example], modality: Modality, progress: Progress
) -> Sequence[Fingerprint]:
    """Fingerprints of all inputs, with the problems that the caller found."""
    readable = [example.input for example in examples if example.problem is None]
    found = iter(modality.fingerprints(readable, progress))
    return [Fingerprint("", example.problem) if example.problem else next(found) for example in examples]


def _all_bad(bad: Mapping[int, str], examples: Sequence[Example], modality: Modality) -> DataError:
    rows = sorted(bad)
    files = [examples[row].input for row in rows] if modality.name == "image" else []
    paths = [file for file in files if file is not None]
    return bad_inputs({examples[row].name: bad[row] for row in rows}, modality.many, paths[:1])


def _with_two_labels(
    rows: Sequence[int],
    examples: Sequence[Example],
    task: Labelling,
    labels: Sequence[str],
    targets: Targets,
    digests: Sequence[str],
) -> dict[int, str]:
    """Map the rows whose image also occurs with other labels to the reason."""
    copies: dict[str, list[int]] = {}
    for row in rows:
        copies.setdefault(digests[row], []).append(row)
    reasons: dict[int, str] = {}
    for same in copies.values():
        described = [task.describe(targets[row], labels) for row in same] if len(same) > 1 else []
        for row, label in zip(same, described, strict=False):
            other = next((n for n, one in enumerate(described) if one != label), None)
            if other is not None:
                name = printable(examples[same[other]].name)
                reasons[row] = f"it is the same image as {name}, which has {_labels_of(described[other])}"
    return dict(sorted(reasons.items()))


def _labels_of(described: Any) -> str:
    if isinstance(described, str):
        return f"the label {listed([described])}"
    if all(isinstance(name, str) for name in described):
        return f"the labels {listed(described)}" if described else "no label"
    return "other boxes"
