"""What is learned: classes, numbers or sets of labels; and classes and numbers as arrays."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.dataset import Targets, Task
from transfer_core.data.example import Cell, Example
from transfer_core.data.number_labels import amounts_warning, whole_number_task
from transfer_core.recipe.schema import Columns, Loss, Recipe, Train
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

# Characters of the name of a class or label.
LONGEST_NAME = 1000
# Values keep 64 bits, as differences between large ones need; within this range nothing overflows.
_LARGEST = float(np.finfo(np.float32).max)


def decide_task(recipe: Recipe, labels: Iterable[Any]) -> tuple[Task, str | None]:
    """The recipe's task, else the one that its loss implies, else the one that `labels` suggest; and a
    warning where another task may be meant.

    Lists of names are multi-label; lists of numbers, and numbers of which at least one isn't whole, are
    regression; text is classification, and so are whole numbers (but see `whole_number_task`).
    """
    if recipe.task != "auto":
        return recipe.task, None
    losses = {step.loss for step in (*recipe.steps, recipe.train) if isinstance(step, Train)}
    implied = [task for loss, task in _TASK_OF_LOSS.items() if loss in losses]
    return (implied[0], None) if implied else _suggested_task([plain(label) for label in labels])


_TASK_OF_LOSS: dict[Loss, Task] = {
    "mean_squared_error": "regression",
    "cross_entropy": "classification",
    "binary_cross_entropy": "multi_label",
}


def _suggested_task(labels: Sequence[Any]) -> tuple[Task, str | None]:
    lists = [label for label in labels if isinstance(label, list | tuple | set | frozenset)]
    if lists and lists[0] is labels[0]:
        filled = next(filter(len, lists), ())
        # A file without types has numbers as text.
        names = any(isinstance(part, str) and not isinstance(part, Cell) for part in filled)
        return "multi_label" if names or not filled else "regression", None
    numbers = [_number(label) for label in labels if isinstance(label, Cell | int | float)]
    if len(numbers) < len(labels) or None in numbers:
        return "classification", amounts_warning(labels)
    known = [number for number in numbers if number is not None]
    if all(math.isfinite(number) and number.is_integer() for number in known):
        return whole_number_task(known)
    return "regression", None


def class_indices(
    examples: Sequence[Example], labels: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Targets]:
    """The sorted class names, and the index of each example's class: int64, (N,).

    With `labels`, the classes of a trained model, a name that is not among them is an error.

    Raises
    ------
    DataError
        A label is missing, empty or a list.
    """
    names = [_class_name(example) for example in examples]
    known = tuple(sorted(set(names))) if labels is None else tuple(labels)
    check_label_count(known, "classes")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise DataError(f"the model has no class {listed(unknown)} (it knows: {listed(known)})")
    index = {name: i for i, name in enumerate(known)}
    return known, np.array([index[name] for name in names], dtype=np.int64)


def values(examples: Sequence[Example], columns: Columns) -> tuple[tuple[str, ...], Targets]:
    """The names of the outputs, and the examples' values: float64, (N, K).

    Raises
    ------
    DataError
        A label is missing, text, not finite, or longer or shorter than the first one.
    """
    rows = [_numbers(example) for example in examples]
    check_label_count(rows[0], "outputs")
    for example, row in zip(examples, rows, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{printable(example.name)}: {_outputs(len(row))}, but {printable(examples[0].name)} "
                f"has {len(rows[0])}; each needs the same outputs"
            )
    return _output_names(columns, len(rows[0])), np.array(rows, dtype=np.float64)


def check_label_count(labels: Sequence[Any], many: str) -> None:
    """Raise `DataError` if there are more than `max_labels`: a head and metrics grow with their square."""
    if problem := excess("max_labels", len(labels), f"the {len(labels)} {many}"):
        raise DataError(problem)


def _outputs(count: int) -> str:
    return "1 output" if count == 1 else f"{count} outputs"


def _output_names(columns: Columns, count: int) -> tuple[str, ...]:
    if not isinstance(columns.target, str):
        return (
            columns.target if len(columns.target) == count else tuple(f"output_{i + 1}" for i in range(count))
        )
    return (columns.target,) if count == 1 else tuple(f"{columns.target}_{i + 1}" for i in range(count))


def _class_name(example: Example) -> str:
    label = plain(example.label)
    if isinstance(label, list | tuple):
        raise DataError(
            f"{printable(example.name)}: a list as label, but classification takes one label each "
            "(for several say task: :multi_label, for numbers task: :regression)"
        )
    _check_present(example, label)
    if not isinstance(label, str | int | float):
        kind = type(label).__name__
        raise DataError(f"{printable(example.name)}: a label is text or a number, got {kind}")
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return clean_name(str(label), example.name)


def clean_name(text: str, where: str) -> str:
    """A label as text in NFC, without spaces around it; `DataError`, naming `where`, if nothing is left."""
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


def _numbers(example: Example) -> list[float]:
    label = plain(example.label)
    parts = list(label) if isinstance(label, list | tuple) else [label]
    if not parts:
        raise DataError(f"{printable(example.name)}: the label is empty")
    numbers = []
    for part in map(plain, parts):
        _check_present(example, part)
        number = _number(part)
        if number is None:
            raise DataError(
                f"{printable(example.name)}: the label {listed([str(part)])} is not a number, as regression "
                "needs (for classes say task: :classification)"
            )
        _check_present(example, number)
        if abs(number) > _LARGEST:
            raise DataError(f"{printable(example.name)}: the label {number} is not a finite 32-bit number")
        numbers.append(number)
    return numbers


def _check_present(example: Example, label: Any) -> None:
    if label is None or (isinstance(label, str) and not label.strip()):
        raise DataError(f"{printable(example.name)}: the label is empty")
    if isinstance(label, float) and math.isnan(label):
        raise DataError(f"{printable(example.name)}: the label is NaN")


def plain(label: Any) -> Any:
    """`label` without NumPy's and decimal's types."""
    if isinstance(label, bool | str):
        return label
    if hasattr(label, "tolist"):
        return label.tolist()
    if isinstance(label, Integral):
        return int(label)
    return float(label) if isinstance(label, Real | Decimal) else label


def _number(label: Any) -> float | None:
    """`label` as a number; None for text that isn't one (Python would also read `1_000`)."""
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    try:
        return None if isinstance(label, str) and "_" in label else float(label)
    except (ValueError, OverflowError):
        return None
