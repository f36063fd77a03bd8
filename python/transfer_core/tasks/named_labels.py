"""Weights and checks of labels with names, for classification and multi-label tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from transfer_core.runtime.errors import did_you_mean
from transfer_core.tasks.criteria import Array


def balanced_weights(counts: Sequence[int], examples: int, ways: int) -> Array:
    """Weights N / (C count) per label, (K,), as in King and Zeng 2001 and scikit-learn; a count of 0 counts
    as 1.

    Parameters
    ----------
    counts
        Training examples per label.
    examples
        N, all training examples.
    ways
        C: the number of classes; 2 for a label that an example has or has not.
    """
    return (examples / (ways * np.maximum(counts, 1))).astype(np.float32)


def by_name(class_weights: Mapping[str, float], labels: Sequence[str]) -> Array:
    """The weight of each label, (K,); 1 where none is given."""
    return np.array([class_weights.get(label, 1.0) for label in labels], np.float32)


def unknown_names(
    class_weights: Mapping[str, float] | str, labels: Sequence[str], noun: str, nouns: str
) -> Iterator[str]:
    """A message for each unknown label in `class_weights`."""
    for name in class_weights if isinstance(class_weights, Mapping) else ():
        if name not in labels:
            some = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
            hint = did_you_mean(name, list(labels)) or f" (the {nouns}: {some})"
            yield f'no {noun} is called "{name}"{hint}'


def counts_problem(field: str, values: Sequence[float], labels: Sequence[str]) -> Iterator[str]:
    """A message unless there is one value for each label, or none."""
    if len(values) not in (0, len(labels)):
        yield f"{field}: expected {len(labels)} values, one for each label, or none (got {len(values)})"
