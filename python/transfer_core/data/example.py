"""Labelled examples: the common form of all data sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

Part: TypeAlias = Literal["train", "valid", "test"]

# Accepted names of folders and values of a split column, in lower case.
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


# Whether examples need labels, may lack them, or are read without.
Labels: TypeAlias = Literal["required", "optional", "none"]


class Cell(str):
    """Text from an untyped file (CSV), in which the number 3.5 is written as `3.5` too."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One input and its label, before any file is opened.

    Attributes
    ----------
    input
        The path of an image, one or two texts, or a tuple of cells; None with a `problem`.
    label
        As in the source: text, a number, a list or tuple.
    split
        None if the source names none.
    name
        The display name: `photos/cat/1.jpg`, `labels.csv line 12`.
    columns
        The names of the cells.
    problem
        The reason that the caller could not read the input.
    group
        Examples of one group stay on one side of a split.
    subgroup
        The value of the column `columns.group`, by which metrics are compared.
    """

    input: Any
    label: Any
    split: Part | None
    name: str
    columns: tuple[str, ...] = ()
    problem: str | None = None
    group: str | None = None
    subgroup: str | None = None


def is_unlabelled(example: Example) -> bool:
    """Whether the label of an example is missing: None, an empty cell or NaN, or only such ones."""
    label = example.label
    if isinstance(label, list | tuple):
        return bool(label) and all(is_unlabelled(replace(example, label=one)) for one in label)
    return label is None or label != label or (isinstance(label, str) and not label.strip())


def group_named(value: Any) -> str | None:
    """Normalize the name of a group, `3` and `3.0` alike; None for an empty cell."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None or not str(value).strip() else str(value).strip()


@dataclass(frozen=True)
class Found:
    """The content of a source; `empty` are training class folders without images."""

    examples: Sequence[Example]
    empty: tuple[str, ...] = ()
