"""Groups of examples that stay on one side of a split: copies, near-duplicates, groups of the user."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# A group that holds a larger share of a class leaves too little of it for the other side.
_LARGEST_SHARE = 0.8
# Near-duplicates in too large a group must be nearer than that, as a share of the usual threshold.
_STRICTER = (1 / 3, 1 / 10, -1.0)


class Edge(NamedTuple):
    """Two rows that are near-duplicates; `distance` is 0 to 1, a share of what still counts as one."""

    first: int
    second: int
    distance: float


class DisjointSets:
    """Rows 0 to N - 1, united step by step (union-find with path halving)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, row: int) -> int:
        """The smallest row of the set that holds `row`."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    def unite(self, first: int, second: int) -> None:
        """Make the sets of both rows one."""
        a, b = sorted((self.find(first), self.find(second)))
        self._parent[b] = a

    def labels(self) -> npt.NDArray[np.int64]:
        """(N,), the smallest row of each row's set."""
        return np.array([self.find(row) for row in range(len(self._parent))], np.int64)


@dataclass(frozen=True)
class Groups:
    """`keys` (N,) are equal for rows that stay together; `similar` (N,) for rows that near-duplicates
    connect, also where these are too many to stay together."""

    keys: tuple[str, ...]
    similar: npt.NDArray[np.int64]


def group_rows(
    digests: Sequence[str],
    named: Sequence[str | None],
    edges: Sequence[Edge],
    strata: Sequence[int] | npt.NDArray[np.bool_],
) -> Groups:
    """Unite rows of one digest, of one name of the user's, and near-duplicates.

    The key of a group is the smallest of its digests: without groups, keys are digests.

    Parameters
    ----------
    digests, named
        (N,); None for a row that the user puts in no group.
    strata
        The class of each row, all zero for regression; or which row has which label, bool (N, K). A group of
        near-duplicates that holds nearly all of one would leave nothing to measure: there only the nearer
        ones stay together.
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
    """Pairs that connect all rows of one name; None is no name."""
    first: dict[Hashable, int] = {}
    for row, name in enumerate(names):
        if name is not None and first.setdefault(name, row) != row:
            yield first[name], row


def _by_class(classes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """The rows of each class."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.asarray(classes)[order])) + 1)


def _too_large(labels: npt.NDArray[np.int64], members: Sequence[npt.NDArray[Any]]) -> set[int]:
    """The labels of sets of several rows that hold too large a share of the members of a class."""
    found: set[int] = set()
    for rows in members:
        own, counts = np.unique(labels[rows], return_counts=True)
        found |= set(own[(counts > _LARGEST_SHARE * counts.sum()) & (counts > 1)].tolist())
    return found
