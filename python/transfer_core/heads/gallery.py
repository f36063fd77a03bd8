"""Stored training examples with their names or texts and thumbnails, so that they can be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, takewhile

import numpy as np

from transfer_core.heads.novelty import Novelty
from transfer_core.heads.rehearsal import Rehearsal
from transfer_core.tasks.criteria import Array

# Bytes of all inputs, and of all thumbnails, that are stored at most.
MOST_BYTES = 2_000_000


class Gallery(Rehearsal):
    """The stored examples of a model with what is shown of them.

    Attributes
    ----------
    inputs
        (B,) uint8, UTF-8: the name of each image, or the beginning of each text or row, one after the other.
    input_ends
        (M,) int64, the end of each in `inputs`; an empty one was left out.
    thumbnails
        (B,) uint8, a JPEG of each image.
    thumbnail_ends
        (M,) int64, as `input_ends`.
    penalty
        (D,) float32 of a linear head at the minimum of its loss, see `influence.Fitted`; (0,) of others.
    """

    numbers = (*Rehearsal.numbers, "inputs", "input_ends", "thumbnails", "thumbnail_ends", "penalty")

    inputs: Array
    input_ends: Array
    thumbnails: Array
    thumbnail_ends: Array
    penalty: Array

    def check(self, width: int, outputs: int = 1) -> None:
        """See `Head`."""
        super().check(width, outputs)
        for name, ends in (("inputs", "input_ends"), ("thumbnails", "thumbnail_ends")):
            content: Array = getattr(self, name)
            self._check_shape(name, len(content.reshape(-1)))
            self._check_shape(ends, len(self.examples))
            self._check_range(ends, 0, len(content))
            at: Array = getattr(self, ends)
            if content.dtype != np.uint8 or len(content) > MOST_BYTES:
                raise ValueError(f"{self.title}: {name} are no 8-bit numbers, {MOST_BYTES:,} at most")
            if (np.diff(at) < 0).any() or at[-1] != len(content):
                raise ValueError(f"{self.title}: {ends} are not sorted, or end elsewhere than {name}")
        if self.penalty.dtype != np.float32 or self.penalty.shape not in ((0,), (width,)):
            raise ValueError(f"{self.title}: penalty is not of {width} 32-bit numbers")
        if not (self.penalty > 0).all() or not np.isfinite(self.penalty).all():
            raise ValueError(f"{self.title}: penalty has numbers that are not positive and finite")
        for row in range(len(self.examples)):
            self.input(row)  # UnicodeDecodeError is a ValueError

    def input(self, row: int) -> str | None:
        """The name of an image, or the beginning of a text or row; None if it is not stored."""
        return _part(self.inputs, self.input_ends, row).decode() or None

    def thumbnail(self, row: int) -> bytes | None:
        """The JPEG of an image; None if it is not stored."""
        return _part(self.thumbnails, self.thumbnail_ends, row) or None


def with_inputs(
    stored: Rehearsal, inputs: Sequence[str], thumbnails: Sequence[bytes], penalty: Array | None = None
) -> Gallery:
    """Add inputs and thumbnails (empty: none) of the M stored examples, as many as fit."""
    arrays = [getattr(stored, name) for name in Rehearsal.numbers]
    shown = [one.encode(errors="backslashreplace") for one in inputs]
    numbers = np.zeros(0, np.float32) if penalty is None else penalty.astype(np.float32)
    return Gallery(*arrays, *_joined(shown), *_joined(thumbnails), numbers)


def novelty_of(arrays: Mapping[str, Array], width: int, outputs: int) -> Novelty | None:
    """Restore from the arrays of an untrusted file; None if there are none.

    Raises
    ------
    ValueError
        If they are not those of a `Novelty` for embeddings of `width`, or of a `Rehearsal` or `Gallery` for
        `outputs`.
    """
    if not arrays:
        return None
    for kind in (Novelty, Rehearsal, Gallery):
        if arrays.keys() == {f"0.{name}" for name in kind.numbers}:
            found = kind(*(arrays[f"0.{name}"] for name in kind.numbers))
            found.check(width, outputs)
            return found
    raise ValueError("its novelty detector has other arrays than expected")


def _joined(parts: Sequence[bytes]) -> tuple[Array, Array]:
    """The parts one after the other (B,), and their ends (M,)."""
    kept = list(takewhile(lambda end: end <= MOST_BYTES, accumulate(map(len, parts))))
    ends = np.array(kept + [kept[-1] if kept else 0] * (len(parts) - len(kept)), np.int64)
    return np.frombuffer(b"".join(parts[: len(kept)]), np.uint8), ends


def _part(content: Array, ends: Array, row: int) -> bytes:
    return content[int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes()
