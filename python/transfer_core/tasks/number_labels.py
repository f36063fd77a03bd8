"""Task inference for numeric labels, with warnings about ambiguous ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from transfer_core.data.amounts import AMOUNT, DATE, is_amount
from transfer_core.data.bad_input import printable
from transfer_core.data.example import Cell
from transfer_core.data.labels import number

# Up to this many distinct whole numbers are class names: digits, star ratings.
_FEW = 10
# A class of one example can't be evaluated: with this share of such values the task is regression.
_RARE = 0.25
_TASK_WORDS = "say task: :regression if they are amounts, task: :classification if they name classes"


def numbers_of(labels: Sequence[Any]) -> list[float] | None:
    """Convert all labels to numbers; None if one is not a number."""
    numbers = [number(label) for label in labels if isinstance(label, Cell | int | float)]
    known = [value for value in numbers if value is not None]
    return known if len(known) == len(labels) else None


def whole_numbers(labels: Sequence[Any]) -> list[float] | None:
    """Convert all labels to whole numbers; None if one is not a whole number."""
    numbers = numbers_of(labels)
    if numbers is None or not all(math.isfinite(value) and value.is_integer() for value in numbers):
        return None
    return numbers


def whole_number_task(labels: Sequence[Any]) -> tuple[Literal["classification", "regression"], str | None]:
    """The task for labels that are whole numbers, and a warning unless it is obvious.

    Up to 10 different values are classes. More are classes too, with a warning; but a regression if a quarter
    of the values occur only once.
    """
    counts = Counter(int(float(label)) for label in labels)
    if len(counts) <= _FEW:
        return "classification", None
    found = f"the labels are {len(counts)} different whole numbers from {min(counts)} to {max(counts)}"
    if sum(count == 1 for count in counts.values()) >= _RARE * len(counts):
        return "regression", f"{found}, taken as amounts (regression). Fix: {_TASK_WORDS}"
    return "classification", (
        f"{found}, each taken as a class of its own, so that off by one is as wrong as off by many. "
        f"Fix: {_TASK_WORDS}"
    )


def amounts_warning(labels: Iterable[Any]) -> str | None:
    """A warning if most of the different labels, which become classes, are amounts written as text."""
    different = {str(label).strip() for label in labels if isinstance(label, str)}
    numbers = [text for text in different if AMOUNT.fullmatch(text) and not DATE.fullmatch(text)]
    written = [text for text in different if is_amount(text)]
    if not written or len(numbers) <= len(different) / 2:
        return None
    return (
        f'the labels are numbers written as text ("{printable(min(written))}"), each taken as a class of its '
        "own. Fix: write amounts as 1234.5 and say task: :regression, or say task: :classification"
    )
