"""Iterative stratification: hold out examples with every label in proportion.

Sechidis, Tsoumakas & Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011, algorithm 1, for
two parts and without a random generator: examples are taken in the order of a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


def in_hash_order(digests: Iterable[str], seed: int) -> list[str]:
    """Sort digests by sha256(seed, digest)."""
    return sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}/{digest}".encode()).digest())


def hold_out_labels(
    rows: Iterable[int],
    share: float,
    at_least: int,
    members: npt.NDArray[np.bool_],
    digests: Sequence[str],
    seed: int,
) -> list[int]:
    """Select about `share` of the rows with each label and of those without it.

    At least one distinct input with and without each label remains; `at_least` rows of each are held out
    unless that takes the last of another.

    Parameters
    ----------
    rows
        The row numbers to select from.
    share
        The share to hold out, 0 to 1.
    at_least
        The minimum number of rows per label.
    members
        (N, K) bool, the labels of all rows.
    digests
        (N,); rows of the same digest go to the same side.
    seed
        Seed of the order.

    Returns
    -------
    Row numbers, ascending.
    """
    copies: dict[str, list[int]] = {}
    for row in rows:
        copies.setdefault(digests[row], []).append(row)
    groups = [copies[digest] for digest in in_hash_order(copies, seed)]
    if share == 0 or len(groups) < 2:
        return []
    # The absence of a label is balanced too: else all examples without it could end up on one side.
    counts = np.array([[*members[group].sum(axis=0), *(~members[group]).sum(axis=0)] for group in groups])
    held = _assign(counts, np.array([len(group) for group in groups]), share, at_least)
    return sorted(row for group, is_held in zip(groups, held, strict=True) if is_held for row in group)


def _assign(
    counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], share: float, at_least: int
) -> npt.NDArray[np.bool_]:
    """Assign G groups to a side, (G,) True if held out, from rows per label (G, L) and in total (G,).

    The label with the fewest unassigned groups is next; each group goes to the side with the larger deficit
    of this label, or on a tie of all rows.
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
            # The last available group of a label goes to the side that still lacks it, training first.
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
        # Hold out at least one group if no label loses its last.
        spare = [group for group in range(len(counts)) if (of_kept[has[group]] > 1).all()]
        held[spare[:1]] = True
    return held
