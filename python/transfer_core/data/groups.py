"""Grouped splits: union of copies, near-duplicates and user-defined groups."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# A group with a larger share of a class leaves too little of it for the other side.
_LARGEST_SHARE = 0.8
# Stricter thresholds for near-duplicates in oversized groups, as shares of the usual one.
_STRICTER = (1 / 3, 1 / 10, -1.0)


class Edge(NamedTuple):
    """A pair of near-duplicate rows; `distance` is relative to the threshold, 0 to 1."""

    first: int
    second: int
    distance: float


class DisjointSets:
    """Union-find with path halving over rows 0 to N - 1."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, row: int) -> int:
        """The smallest row of the set that holds `row`."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    def unite(self, first: int, second: int) -> None:
        """Merge the sets of both rows."""
        a, b = sorted((self.find(first), self.find(second)))
        self._parent[b] = a

    def labels(self) -> npt.NDArray[np.int64]:
        """The smallest row of each row's set, (N,)."""
        return np.array([self.find(row) for row in range(len(self._parent))], np.int64)


@dataclass(frozen=True)
class Groups:
    """Groups of N rows: `keys` are equal for rows that stay together, `similar` for connected near-duplicates
    even if their group is too large to stay together."""

    keys: tuple[str, ...]
    similar: npt.NDArray[np.int64]


def group_rows(
    digests: Sequence[str],
    named: Sequence[str | None],
    edges: Sequence[Edge],
    strata: Sequence[int] | npt.NDArray[np.bool_],
) -> Groups:
    """Merge copies, rows of one user-defined group, and near-duplicates.

    The key of a group is the smallest of its digests: without groups, keys are digests.

    Parameters
    ----------
    digests, named
        (N,) digests and user-defined groups; None for a row without a group.
    edges
        Pairs of near-duplicate rows.
    strata
        The class of each row, all zero for regression; or labels as bool (N, K). In a group of
        near-duplicates with nearly all of a class, only the nearest stay together.
    """
    copies = _united(len(digests), _chains(digests))
    similar = together = _with_edges(copies, edges)
    members = [*strata.T] if isinstance(strata, np.ndarray) else _by_class(strata)
    for limit in _STRICTER if edges else ():
        large = _too_large(together, members)
        edges = [edge for edge in edges if together[edge.first] not in large or edge.distance <= limit]
        together = _with_edges(copies, edges)
    labels = _united(len(digests), [*_chains(together), *_chains(named)])
    smallest: dict[int, str] = {}
    for label, digest in zip(labels.tolist(), digests, strict=True):
        smallest[label] = min(smallest.get(label, digest), digest)
    return Groups(tuple(smallest[label] for label in labels.tolist()), similar)


def _with_edges(labels: npt.NDArray[np.int64], edges: Iterable[Edge]) -> npt.NDArray[np.int64]:
    return _united(len(labels), [*_chains(labels.tolist()), *((edge.first, edge.second) for edge in edges)])


def _united(count: int, pairs: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    sets = DisjointSets(count)
    for first, second in pairs:
        sets.unite(first, second)
    return sets.labels()


def _chains(names: Iterable[Hashable]) -> Iterable[tuple[int, int]]:
    """Pairs that connect all rows with equal names; None is no name."""
    first: dict[Hashable, int] = {}
    for row, name in enumerate(names):
        if name is not None and first.setdefault(name, row) != row:
            yield first[name], row


def _by_class(classes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """The rows of each class."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.asarray(classes)[order])) + 1)


def _too_large(labels: npt.NDArray[np.int64], members: Sequence[npt.NDArray[Any]]) -> set[int]:
    """Labels of sets of several rows with more than `_LARGEST_SHARE` of a class."""
    found: set[int] = set()
    for rows in members:
        own, counts = np.unique(labels[rows], return_counts=True)
        found |= set(own[(counts > _LARGEST_SHARE * counts.sum()) & (counts > 1)].tolist())
    return found
