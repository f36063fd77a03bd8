"""Encode label sets from lists of names, delimited cells, or one column per label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer_core.data.bad_input import listed, printable
from transfer_core.data.example import Cell, Example
from transfer_core.data.labelling import Targets
from transfer_core.data.labels import check_label_count, clean_name, plain
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError

_BETWEEN = re.compile(r"[|;]")
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def label_sets(
    examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Targets]:
    """Encode label sets: the sorted names, and bool (N, K).

    A single target column has lists of names, which may be empty; in a CSV file the names are separated by
    `|` or `;`. Several target columns have 0 or 1 for one label each.

    Parameters
    ----------
    examples
        N labelled examples.
    columns
        The target columns.
    labels
        The labels of a trained model; other names are an error. Default: those of the examples.

    Raises
    ------
    DataError
        A label is missing, is not a list, or is neither a name nor 0 or 1.
    """
    if isinstance(columns.target, str):
        sets = [_names(example) for example in examples]
    else:
        sets = [_marked(example, columns.target) for example in examples]
    found = set().union(*sets) if isinstance(columns.target, str) else set(columns.target)
    if labels is None and not found:
        raise DataError("none of the examples has a label, there is nothing to learn")
    known = tuple(sorted(found)) if labels is None else tuple(labels)
    check_label_count(known, "labels")
    if unknown := sorted(found - set(known)):
        raise DataError(f"the model has no label {listed(unknown)} (its labels: {listed(known)})")
    if not isinstance(columns.target, str) and (missing := sorted(set(known) - found)):
        raise DataError(f"the data has no column for the labels {listed(missing)} of the model")
    column = {name: number for number, name in enumerate(known)}
    has = np.zeros((len(sets), len(known)), dtype=bool)
    for row, one in enumerate(sets):
        has[row, [column[name] for name in one]] = True
    return known, has


def _names(example: Example) -> set[str]:
    label, where = plain(example.label), printable(example.name)
    if isinstance(label, Cell):
        return {clean_name(part, example.name) for part in _BETWEEN.split(label) if part.strip()}
    if label is None:
        raise DataError(f"{where}: the label is missing (an empty list means no label)")
    if not isinstance(label, list | tuple | set | frozenset):
        raise DataError(
            f"{where}: {_shown(label)} is one label, but multi_label takes a list of labels each, "
            "in a manifest or in rows (not in a folder)"
        )
    for part in label:
        if not isinstance(part, str):
            raise DataError(
                f"{where}: {_shown(part)} is not a name, as a list of labels needs (where there is 0 or 1 "
                "for each label name the columns: target: [...])"
            )
    return {clean_name(part, example.name) for part in label}


def _marked(example: Example, names: Sequence[str]) -> set[str]:
    label, where = plain(example.label), printable(example.name)
    parts = list(label) if isinstance(label, list | tuple) else [label]
    if len(parts) != len(names):
        raise DataError(f"{where}: {len(parts)} numbers, but columns.target names {len(names)} labels")
    found = set()
    for name, part in zip(names, map(plain, parts), strict=True):
        flag = _FLAGS.get(str(int(part) if part in (0, 1) else part).strip().lower())
        if flag is None:
            raise DataError(f"{where}: the label {listed([name])} is {_shown(part)}, expected 0 or 1")
        if flag:
            found.add(name)
    return found


def _shown(value: Any) -> str:
    return f'"{printable(value)}"' if isinstance(value, str) else printable(str(value))
