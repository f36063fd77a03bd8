"""Affinity of the classes of two label sets, by the means of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import domains


@dataclass(frozen=True)
class Affinity:
    """Cosines (S, T) between the prototypes of the classes `source` (S) and `target` (T), both sorted."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    cosines: npt.NDArray[np.float64]


def label_affinity(
    source: npt.ArrayLike,
    source_labels: Sequence[str],
    target: npt.ArrayLike,
    target_labels: Sequence[str],
) -> Affinity:
    """Compute the cosine between each class of the source and each of the target.

    A prototype is the mean embedding of a class (Snell et al. 2017), less the mean of all prototypes of its
    domain: a shift of the whole domain does not change the result.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) embeddings.
    source_labels, target_labels
        The class of each row; at least two different ones in each domain.

    Raises
    ------
    ValueError
        If a domain has fewer than two classes.
    """
    rows = domains(source, target)
    names, prototypes = [], []
    for one, labels in zip(rows, (source_labels, target_labels), strict=True):
        classes, numbers = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"a label set needs two classes to compare (got {len(classes)})")
        sums = np.zeros((len(classes), one.shape[1]))
        np.add.at(sums, numbers, one)
        means = sums / np.bincount(numbers)[:, None]
        centred = means - means.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        prototypes.append(centred / np.where(lengths > 0, lengths, 1))
        names.append(tuple(map(str, classes)))
    return Affinity(names[0], names[1], prototypes[0] @ prototypes[1].T)
