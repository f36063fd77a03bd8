"""Normalize and validate raw labels from files and callers."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from transfer_core.data.bad_input import printable
from transfer_core.data.example import Example
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

# Characters of the name of a class or label.
LONGEST_NAME = 1000


def check_label_count(labels: Sequence[Any], many: str) -> None:
    """Raise `DataError` if there are more than `max_labels`: a head and metrics grow with their square."""
    if problem := excess("max_labels", len(labels), f"the {len(labels)} {many}"):
        raise DataError(problem)


def clean_name(text: str, where: str) -> str:
    """Normalize a label to NFC without surrounding spaces; raise `DataError` if it is empty or too long."""
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise DataError(f"{printable(where)}: the label is empty")
    if len(name) > LONGEST_NAME:
        raise DataError(
            f'{printable(where)}: the label "{printable(name)}" has {len(name)} characters, expected at most '
            f"{LONGEST_NAME} (is it the input?)"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f'{printable(where)}: the label "{printable(name)}" is not valid text') from None
    return name


def check_present(example: Example, label: Any) -> None:
    """Raise `DataError` if a label is empty or NaN."""
    if label is None or (isinstance(label, str) and not label.strip()):
        raise DataError(f"{printable(example.name)}: the label is empty")
    if isinstance(label, float) and math.isnan(label):
        raise DataError(f"{printable(example.name)}: the label is NaN")


def plain(label: Any) -> Any:
    """Convert NumPy and decimal types to plain Python values."""
    if isinstance(label, bool | str):
        return label
    if hasattr(label, "tolist"):
        return label.tolist()
    if isinstance(label, Integral):
        return int(label)
    return float(label) if isinstance(label, Real | Decimal) else label


def number(label: Any) -> float | None:
    """Convert `label` to a number; None for other text (also `1_000`, which Python would accept)."""
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    try:
        return None if isinstance(label, str) and "_" in label else float(label)
    except (ValueError, OverflowError):
        return None
