"""Exact and near duplicates, within and across the parts of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transfer_core.data.groups import DisjointSets, Edge
from transfer_core.findings.examples import Examples, Finding


def duplicates(examples: Examples, digests: Sequence[str], edges: Sequence[Edge]) -> list[Finding]:
    """Inputs that are copies of an earlier one; those with another label or in another part come first.

    Parameters
    ----------
    examples
        N examples.
    digests
        (N,) digests: equal for exact copies.
    edges
        Pairs of near-duplicates. The `score` of a finding is 1 minus the distance of the pair.
    """
    found = [*_exact(examples, digests), *_near(examples, digests, edges)]
    return sorted(found, key=lambda one: (one.suggested is None, one.kind, " in " not in one.detail))


def _exact(examples: Examples, digests: Sequence[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for row, digest in enumerate(digests):
        earlier = first.setdefault(digest, row)
        if earlier != row:
            yield _finding("duplicate", "the same as", examples, row, earlier, 1.0)


def _near(examples: Examples, digests: Sequence[str], edges: Sequence[Edge]) -> Iterator[Finding]:
    sets = DisjointSets(len(examples))
    nearest: dict[int, tuple[int, float]] = {}
    for first, second, distance in edges:
        sets.unite(first, second)
        for row, other in ((first, second), (second, first)):
            if row not in nearest or distance < nearest[row][1]:
                nearest[row] = (other, distance)
    for row in sorted(nearest):
        other, distance = nearest[row]
        if sets.find(row) != row and digests[row] != digests[other]:
            yield _finding("near_duplicate", "nearly the same as", examples, row, other, 1 - distance)


def _finding(kind: str, how: str, examples: Examples, row: int, other: int, score: float) -> Finding:
    part, its = examples.parts[row], examples.parts[other]
    where = f" in {its}, while this one is in {part}" if part != its else ""
    label, others = examples.labels[row], examples.labels[other]
    different = f", which has the label {others}" if label != others else ""
    return Finding(
        kind,
        f"{how} {_named(examples.keys[other])}{where}{different}",
        examples.keys[row],
        label,
        others if label != others else None,
        score,
        other=examples.keys[other],
    )


def _named(key: str | int) -> str:
    return key if isinstance(key, str) else f"row {key}"
