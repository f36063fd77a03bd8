"""Which rows train, which choose and which are only measured. Numbers in, row numbers out.

There is no random generator here. The rows of a class are ordered by sha256(seed, digest), so the
split depends on the seed and the inputs alone: not on the folder, the names or the order of listing,
and adding a photo hardly moves the others. Label sets are dealt out in the same order.
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
    """Row numbers of each part, ascending; `copies` were given for fitting but are held out as well."""

    train: Rows
    valid: Rows
    test: Rows
    test_name: Literal["valid", "test"] = "test"
    copies: tuple[int, ...] = ()


def split_rows(
    given: Sequence[Part | None],
    strata: Strata,
    digests: Sequence[str],
    sizes: SplitSizes,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Parts:
    """Complete the split that the data brings, `given`, or make one.

    Parameters
    ----------
    given
        The part of each row; None for all rows if the data brings no split.
    strata
        The class of each row, each of which is split in the same shares; all zero for regression. Or which
        row has which label, bool (N, K); then each label is, as nearly as can be.
    digests
        Rows of the same digest are copies. Those of held-out rows are left out of what is fitted.
    groups
        Rows of the same group go to the same side, unless the data says otherwise; by default copies do.
    """
    groups = digests if groups is None else groups
    if not isinstance(strata, np.ndarray):
        strata = _one_of_group(strata, groups)
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
    """The same where a group agrees on its class; where it doesn't, the rarest of its classes for all."""
    common = Counter(strata)
    shared: dict[str, int] = {}
    for group, stratum in zip(groups, strata, strict=True):
        shared[group] = min(shared.get(group, stratum), stratum, key=lambda one: (common[one], one))
    return [shared[group] for group in groups]


def _carve(
    rows: Iterable[int], strata: Strata, groups: Sequence[str], sizes: SplitSizes, seed: int
) -> tuple[Rows, Rows]:
    """Split what may be trained on into `train` and `valid`."""
    rows = list(rows)
    valid = _hold_out(rows, sizes.valid, 0, strata, groups, seed)
    return _rest(rows, valid), valid


def _hold_out(
    rows: Iterable[int], share: float, at_least: int, strata: Strata, groups: Sequence[str], seed: int
) -> Rows:
    """About `share` of the rows of each stratum, at least `at_least`, and never its last group."""
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
    """`share` of each count in whole rows, which together are `share` of all (largest remainders first)."""
    if share == 0 or not counts:
        return [0] * len(counts)
    exact = np.array(counts) * share
    quotas = np.floor(exact).astype(int)
    total = max(1, int(exact.sum() + 0.5))
    largest_first = np.argsort(quotas - exact, kind="stable")
    quotas[largest_first[: max(0, total - quotas.sum())]] += 1
    return [int(quota) for quota in np.maximum(quotas, at_least)]


def _draw(copies: dict[str, Rows], quota: int, seed: int) -> Rows:
    """Whole groups of copies, up to `quota` rows, in the order of the hash."""
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
