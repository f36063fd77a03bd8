"""What every source of data is read into: one list of labelled references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Part: TypeAlias = Literal["train", "valid", "test"]

# Every spelling that is understood in a folder name or a split column, in lower case.
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


class Cell(str):
    """Text out of a file without types (CSV), where 3.5 can only be written as `"3.5"`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One input and its label, before anything was opened.

    `input` is the path of an image, a text or two, or a tuple of cells, whose names are `columns`. `label` is
    as the source has it: text, a number, a list or tuple of numbers. `split` is None where the source names
    none. `name` is what messages call it: `photos/cat/1.jpg`, `labels.csv line 12`. With a `problem` the
    caller could not read the input, which is None. Examples of one `group` stay on one side of a split.
    """

    input: Any
    label: Any
    split: Part | None
    name: str
    columns: tuple[str, ...] = ()
    problem: str | None = None
    group: str | None = None


def group_named(value: Any) -> str | None:
    """The name of a group as text, `3` and `3.0` alike; None for an empty cell."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None or not str(value).strip() else str(value).strip()


@dataclass(frozen=True)
class Found:
    """All a source holds; `empty` are the class folders for training that have no images."""

    examples: Sequence[Example]
    empty: tuple[str, ...] = ()
