"""Rehearsal memory: stored examples that a continued training is fitted and measured on (Robins 1995)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_core.heads.novelty import Novelty, packed
from transfer_core.tasks.criteria import Array

# Held-out examples and numbers that are stored, at most, and digests of held-out examples.
MOST_HELD_OUT, _MOST_NUMBERS, MOST_DIGESTS = 500, 1 << 20, 100_000
# Bytes of a digest.
_BYTES = 8


class Rehearsal(Novelty):
    """The stored examples of a novelty detector with their targets, and held-out examples.

    Attributes
    ----------
    targets
        (M,) or (M, K) of the stored examples.
    digests
        (M, 8) uint8, the first bytes of the digests of the inputs.
    counts
        (2,) numbers of training and of held-out examples, of which the stored ones are a sample.
    held_out
        (T, D) embeddings of test examples.
    held_out_targets
        (T,) or (T, K).
    held_out_digests
        (H, 8) uint8 of all test examples, H ≥ T.
    """

    numbers = (
        *Novelty.numbers,
        *("targets", "digests", "counts", "held_out", "held_out_targets", "held_out_digests"),
    )
    title = "its stored examples"

    targets: Array
    digests: Array
    counts: Array
    held_out: Array
    held_out_targets: Array
    held_out_digests: Array

    def check(self, width: int, outputs: int = 1) -> None:
        """See `Head`."""
        super().check(width)
        kept, held = len(self.examples), len(self.held_out)
        self._check_shape("held_out", held, width)
        self._check_shape("digests", kept, _BYTES)
        self._check_shape("held_out_digests", len(self.held_out_digests), _BYTES)
        self._check_shape("counts", 2)
        self._check_range("counts", 0, 2**53)
        if self.digests.dtype != np.uint8 or self.held_out_digests.dtype != np.uint8:
            raise ValueError(f"{self.title}: digests are not of 8-bit numbers")
        for name, rows in (("targets", kept), ("held_out_targets", held)):
            found = getattr(self, name)
            self._check_shape(name, rows, *((outputs,) if found.ndim == 2 else ()))
            if found.dtype.kind == "i":
                self._check_range(name, 0, outputs - 1)
            if found.dtype.kind not in "ibf" or not np.isfinite(found).all():
                raise ValueError(f"{self.title}: {name} are no finite numbers")
        if self.held_out.dtype.kind != "f" or not np.isfinite(self.held_out).all():
            raise ValueError(f"{self.title}: held_out has no finite numbers")

    @property
    def weight(self) -> float:
        """Number of training examples that a stored one stands for."""
        return max(1.0, float(self.counts[0]) / len(self.examples))


def with_targets(
    novelty: Novelty,
    targets: Array,
    digests: Sequence[str],
    count: int,
    held_out: Array,
    held_out_targets: Array,
    held_out_digests: Sequence[str],
) -> Rehearsal:
    """Add the targets of the stored examples, and held-out examples.

    Parameters
    ----------
    novelty
        The detector, which stores the first M of the examples.
    targets, digests
        (N, …) and N hex digests, N ≥ M.
    count
        Number of training examples.
    held_out, held_out_targets, held_out_digests
        (H, D), (H, …) and at least H hex digests of test examples.
    """
    stored, width = len(novelty.examples), held_out.shape[1]
    kept = np.arange(min(len(held_out), MOST_HELD_OUT, _MOST_NUMBERS // width))
    order = np.random.default_rng(0).permutation(len(held_out)) if len(kept) < len(held_out) else kept
    kept = np.sort(order[: len(kept)])
    return Rehearsal(
        novelty.examples,
        novelty.distances,
        novelty.roots,
        targets[:stored],
        digest_bytes(digests[:stored]),
        np.array([count, len(held_out_digests)]),
        packed(held_out[kept], bool(novelty.roots)),
        held_out_targets[kept],
        digest_bytes(held_out_digests[:MOST_DIGESTS]),
    )


def digest_bytes(digests: Sequence[str]) -> Array:
    """The first bytes of hex digests, (N, 8) uint8."""
    return np.frombuffer(b"".join(bytes.fromhex(one[: 2 * _BYTES]) for one in digests), np.uint8).reshape(
        -1, _BYTES
    )
