"""Deterministic stratified and grouped split into training, validation and test rows.

The rows of a class are ordered by sha256(seed, digest), so the split depends only on the seed and the inputs,
not on folders, names or listing order, and an additional input hardly moves the others. Label sets are
distributed in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from transfer_core.data.example import Part
from transfer_core.data.labelling import Strata
from transfer_core.data.stratify import hold_out_labels, in_hash_order
from transfer_core.recipe.schema import SplitSizes

Rows: TypeAlias = list[int]


@dataclass(frozen=True)
class Parts:
    """Row numbers of each part, ascending; `copies` are excluded because they are copies of held-out rows,
    `reserved` because they are kept for a later test."""

    train: Rows
    valid: Rows
    test: Rows
    test_name: Literal["valid", "test"] = "test"
    copies: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()


def split_rows(
    given: Sequence[Part | None],
    strata: Strata,
    digests: Sequence[str],
    sizes: SplitSizes,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Parts:
    """Complete a given split, or make one.

    Parameters
    ----------
    given
        The part of each of N rows; None for all rows without a split.
    strata
        The class of each row, all zero for regression; classes are split in equal shares. Or labels as bool
        (N, K), which are split in approximately equal shares.
    digests
        Rows of the same digest are copies. Copies of held-out rows are left out of training.
    sizes
        Shares of the test and validation parts.
    seed
        Seed of the order.
    groups
        Rows of the same group go to the same side, unless `given` separates them. Default: the digests.

    Returns
    -------
    Row numbers of each part.
    """
    groups = digests if groups is None else groups
    if not isinstance(strata, np.ndarray):
        strata = _one_of_group(strata, groups)
    parts = _complete(given, strata, digests, sizes, seed, groups)
    if sizes.measure == "test" or not parts.valid:
        return parts
    train, valid = _carve(parts.train, strata, groups, sizes, seed)
    reserved = tuple(sorted((*parts.test, *parts.reserved)))
    return Parts(train, valid, parts.valid, "valid", parts.copies, reserved)


def _complete(
    given: Sequence[Part | None],
    strata: Strata,
    digests: Sequence[str],
    sizes: SplitSizes,
    seed: int,
    groups: Sequence[str],
) -> Parts:
    rows: dict[Part | None, Rows] = {part: [] for part in (None, "train", "valid", "test")}
    for row, part in enumerate(given):
        rows[part].append(row)
    if not rows["valid"] and not rows["test"]:
        every = range(len(given))
        test = _hold_out(every, sizes.test, 1, strata, groups, seed)
        train, valid = _carve(_rest(every, test), strata, groups, sizes, seed)
        return Parts(train, valid, test)
    measured: Literal["valid", "test"] = "test" if rows["test"] else "valid"
    test = rows[measured]
    train = _not_among(rows["train"], test, digests)
    if rows["valid"] and measured == "test":
        valid = _not_among(rows["valid"], test, digests)
        train = _not_among(train, valid, digests)
    else:
        train, valid = _carve(train, strata, groups, sizes, seed)
    copies = sorted(set(range(len(given))) - {*train, *valid, *test})
    return Parts(train, valid, test, measured, tuple(copies))


def _one_of_group(strata: Sequence[int], groups: Sequence[str]) -> list[int]:
    """Give all rows of a group one stratum: the rarest of their classes."""
    common = Counter(strata)
    shared: dict[str, int] = {}
    for group, stratum in zip(groups, strata, strict=True):
        shared[group] = min(shared.get(group, stratum), stratum, key=lambda one: (common[one], one))
    return [shared[group] for group in groups]


def _carve(
    rows: Iterable[int], strata: Strata, groups: Sequence[str], sizes: SplitSizes, seed: int
) -> tuple[Rows, Rows]:
    """Split the rows for training into `train` and `valid`."""
    rows = list(rows)
    valid = _hold_out(rows, sizes.valid, 0, strata, groups, seed)
    return _rest(rows, valid), valid


def _hold_out(
    rows: Iterable[int], share: float, at_least: int, strata: Strata, groups: Sequence[str], seed: int
) -> Rows:
    """Select about `share` of the rows of each stratum, at least `at_least`, and never its last group."""
    if isinstance(strata, np.ndarray):
        return hold_out_labels(rows, share, at_least, strata, groups, seed)
    members: dict[int, dict[str, Rows]] = {}
    for row in rows:
        members.setdefault(strata[row], {}).setdefault(groups[row], []).append(row)
    divisible = {stratum: copies for stratum, copies in sorted(members.items()) if len(copies) > 1}
    counts = [sum(map(len, copies.values())) for copies in divisible.values()]
    held = []
    for copies, quota in zip(divisible.values(), _quotas(counts, share, at_least), strict=True):
        held += _draw(copies, quota, seed)
    return sorted(held)


def _quotas(counts: Sequence[int], share: float, at_least: int) -> list[int]:
    """Allocate `share` of each count in whole rows by the largest remainder method."""
    if share == 0 or not counts:
        return [0] * len(counts)
    exact = np.array(counts) * share
    quotas = np.floor(exact).astype(int)
    total = max(1, int(exact.sum() + 0.5))
    largest_first = np.argsort(quotas - exact, kind="stable")
    quotas[largest_first[: max(0, total - quotas.sum())]] += 1
    return [int(quota) for quota in np.maximum(quotas, at_least)]


def _draw(copies: dict[str, Rows], quota: int, seed: int) -> Rows:
    """Select whole groups of copies, up to `quota` rows, in hash order."""
    ordered = in_hash_order(copies, seed)
    drawn: Rows = []
    groups = 0
    for digest in ordered:
        if groups < len(ordered) - 1 and len(drawn) + len(copies[digest]) <= quota:
            drawn += copies[digest]
            groups += 1
    if quota and not drawn:
        return list(copies[min(ordered, key=lambda digest: len(copies[digest]))])
    return drawn


def _not_among(rows: Rows, held: Rows, digests: Sequence[str]) -> Rows:
    held_digests = {digests[row] for row in held}
    return [row for row in rows if digests[row] not in held_digests]


def _rest(rows: Iterable[int], taken: Rows) -> Rows:
    return sorted(set(rows) - set(taken))
