"""Iterative stratification: hold out a share of the examples in which every label keeps its own share.

Sechidis, Tsoumakas & Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011, algorithm 1, for
two parts and without a random generator: examples are taken in the order of a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


def in_hash_order(digests: Iterable[str], seed: int) -> list[str]:
    """The digests in an order that depends on the seed and on each of them alone."""
    return sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}/{digest}".encode()).digest())


def hold_out_labels(
    rows: Iterable[int],
    share: float,
    at_least: int,
    members: npt.NDArray[np.bool_],
    digests: Sequence[str],
    seed: int,
) -> list[int]:
    """About `share` of the rows of each label and of those without it.

    Of a label, and of what lacks it, one distinct input always stays; `at_least` of its rows are held out
    unless that takes the last of another.

    Parameters
    ----------
    members
        (N, K), which of all rows has which label.
    digests
        Rows of the same digest go to the same side.
    """
    copies: dict[str, list[int]] = {}
    for row in rows:
        copies.setdefault(digests[row], []).append(row)
    groups = [copies[digest] for digest in in_hash_order(copies, seed)]
    if share == 0 or len(groups) < 2:
        return []
    # Not to have a label is a label, too: else all examples without one could end up on the same side.
    counts = np.array([[*members[group].sum(axis=0), *(~members[group]).sum(axis=0)] for group in groups])
    held = _assign(counts, np.array([len(group) for group in groups]), share, at_least)
    return sorted(row for group, is_held in zip(groups, held, strict=True) if is_held for row in group)


def _assign(
    counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], share: float, at_least: int
) -> npt.NDArray[np.bool_]:
    """Which of G groups are held out, (G,), for the rows (G, L) that each has of each label, and in all (G,).

    The label with the fewest groups left is dealt out next, each group to the side that lacks more of this
    label; or if that is the same, more of all.
    """
    has = counts > 0
    distinct = has.sum(axis=0)
    held_wants = np.where(distinct > 1, np.maximum(share * counts.sum(axis=0), at_least), 0.0)
    kept_wants = counts.sum(axis=0) - held_wants
    held_lacks, kept_lacks = share * sizes.sum(), (1 - share) * sizes.sum()
    held, open_ = np.zeros(len(counts), bool), np.ones(len(counts), bool)
    left, of_kept, of_held = distinct.copy(), distinct.copy(), distinct.copy()
    while open_.any():
        label = int(np.where(left > 0, left, len(counts) + 1).argmin())
        for group in np.flatnonzero(open_ & has[:, label]):
            own = has[group]
            lack = (kept_wants[label], kept_lacks), (held_wants[label], held_lacks)
            hold = lack[0] < lack[1]
            # The last that could still be on a side goes there, and training comes first.
            if (of_kept[own] == 1).any():
                hold = False
            elif at_least and ((of_held[own] == 1) & (distinct[own] > 1)).any():
                hold = True
            held[group], open_[group] = hold, False
            left -= own
            if hold:
                of_kept -= own
                held_wants -= counts[group]
                held_lacks -= sizes[group]
            else:
                of_held -= own
                kept_wants -= counts[group]
                kept_lacks -= sizes[group]
    if not held.any():
        # Something to choose by, or to measure on, if no label loses its last.
        spare = [group for group in range(len(counts)) if (of_kept[has[group]] > 1).all()]
        held[spare[:1]] = True
    return held
