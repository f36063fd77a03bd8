"""Novelty detection: the distance of an embedding to the nearest training example, calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from transfer_core.heads.head import FittedLayer
from transfer_core.heads.scaling import parts_of
from transfer_core.metrics.out_of_distribution import auroc
from transfer_core.tasks.criteria import Array

# Examples that are stored and that calibrate, at most, and the most numbers that are stored: 4 MB.
MOST_EXAMPLES, _MOST_NUMBERS = 1000, 1 << 21
# Inputs with at least this novelty are unknown: 5 % of inputs like the training examples.
UNKNOWN = 0.95
_ROWS_AT_ONCE = 512
# Squares of stored numbers stay within 32 bits.
_LARGEST = 1e15
_LARGEST_HALF = 6e4
# Classes and test examples that an AUROC is estimated on, at most.
_MOST_CLASSES, _MOST_MEASURED = 100, 2000


class Novelty(FittedLayer):
    """Novelty (N,) of embeddings: the share of calibration examples nearer to the training examples,
    interpolated.

    Attributes
    ----------
    examples
        (M, D) embeddings of training examples, float16 or float32.
    distances
        (n,) float32, sorted distances of calibration examples to their nearest training example.
    roots
        (). 1: distances are between signed square roots of the features, scaled to length 1 (Perronnin et
        al. 2010, section 3). 0: between the features.
    """

    numbers: ClassVar[tuple[str, ...]] = ("examples", "distances", "roots")
    title = "its novelty detector"

    examples: Array
    distances: Array
    roots: Array

    def check(self, width: int, outputs: int = 1) -> None:
        """See `Head`."""
        self._check_shape("examples", *self.examples.shape[:1], width)
        self._check_shape("distances", *self.distances.shape[:1])
        self._check_shape("roots")
        self._check_range("roots", 0, 1)
        if not len(self.examples) or self.examples.dtype.kind != "f" or self.distances.dtype.kind != "f":
            raise ValueError("its novelty detector has no examples, or numbers of a wrong type")
        if not (np.abs(self.examples.astype(np.float64)) <= _LARGEST).all():
            raise ValueError(f"its novelty detector: examples has numbers beyond {_LARGEST:g}")
        if not (np.diff(self.distances) >= 0).all() or not np.isfinite(self.distances).all():
            raise ValueError("its novelty detector: distances are not sorted, finite numbers")

    def __call__(self, features: Array) -> Array:
        """Novelty (N,) float64, 0 to 1, of embeddings (N, D); continuous, and larger for larger distances.

        At most one minus a conformal p-value: of inputs from the distribution of the training examples, at
        most the share α ≥ 1 / (n + 1) has a novelty of 1 - α or more (Vovk et al. 2005, section 2.2).
        """
        nearest = self.nearest(features).astype(np.float64)
        at, novelty = self.knots
        beyond = at[-1] / np.maximum(nearest, at[-1])
        found: Array = np.interp(nearest, at, novelty) + (1 - beyond) / (len(self.distances) + 1)
        return found

    @cached_property
    def knots(self) -> tuple[Array, Array]:
        """Increasing distances from 0 on, and the novelty at each, interpolated linearly between them.

        At a calibration distance it is the share of nearer ones. The share of all is reached beyond the
        largest, by the difference of the largest and the median; further away, the rest of the way to 1 is
        that to the inverse of the distance.
        """
        distances = self.distances.astype(np.float64)
        if not len(distances):
            return np.array([0.0, 1.0]), np.zeros(2)
        at, nearer = np.unique(distances, return_index=True)
        last = 2 * at[-1] - np.median(distances)
        at = np.append(at, max(last, 1.001 * at[-1], 1e-6))
        novelty = np.append(nearer, len(distances)) / (len(distances) + 1)
        if at[0] > 0:
            at, novelty = np.append(0.0, at), np.append(0.0, novelty)
        return at, novelty

    def nearest(self, features: Array) -> Array:
        """Distances (N,) float32 to the nearest example."""
        parts = [self.distances_to(part).min(axis=1) for part in parts_of(features, _ROWS_AT_ONCE)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def distances_to(self, features: Array) -> Array:
        """Distances (N, M) float32 to each stored example."""
        roots = bool(self.roots)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = transformed(features, roots)
            own = 1.0 if roots else np.square(rows).sum(axis=1, keepdims=True)
            squares = own - 2 * (rows @ self._known.T) + self._lengths
        # Numbers too large for their squares are far from all examples.
        return np.sqrt(np.maximum(np.nan_to_num(squares, nan=np.inf), 0))

    @cached_property
    def _known(self) -> Array:
        return transformed(self.examples, bool(self.roots))

    @cached_property
    def _lengths(self) -> Array:
        lengths: Array = np.square(self._known).sum(axis=1)
        return np.ones_like(lengths) if self.roots else lengths


def transformed(features: Array, roots: bool) -> Array:
    """Embeddings (N, D) float32 as they are compared; see `Novelty.roots`."""
    rows: Array = np.asarray(features, np.float32)
    if not roots:
        return rows
    rows = np.sign(rows) * np.sqrt(np.abs(rows))
    lengths: Array = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def fit_novelty(
    known: Array, groups: Sequence[str], roots: bool, held_out: Array | None = None
) -> Novelty | None:
    """Store training examples, and calibrate.

    Parameters
    ----------
    known
        (N, D) embeddings of training examples in random order; the first are stored, the last calibrate.
    groups
        Of each example. Those of one group, such as near-duplicates, don't calibrate each other.
    roots
        See `Novelty`.
    held_out
        (n, D) embeddings of other examples that calibrate. Default: the training examples, each by its
        distance to the others.

    Returns
    -------
    Novelty or None
        None with fewer than two examples, or numbers that are too large.
    """
    examples = known[: stored_count(*known.shape)]
    if len(examples) < 2 or not (np.abs(examples) <= _LARGEST).all():
        return None
    found = Novelty(packed(examples, roots), np.zeros(0), np.array(int(roots)))
    if held_out is not None:
        distances = found.nearest(held_out[:MOST_EXAMPLES])
    else:
        names = np.unique(np.asarray(groups), return_inverse=True)[1]
        distances = _from_other_groups(found, known[-MOST_EXAMPLES:], names[-MOST_EXAMPLES:], names)
    return Novelty(found.examples, np.sort(distances[np.isfinite(distances)]), found.roots)


def packed(embeddings: Array, halved: bool) -> Array:
    """Embeddings as they are stored: float16 where they fit, else float32."""
    if halved and np.abs(embeddings).max(initial=0) < _LARGEST_HALF:
        return embeddings.astype(np.float16)
    return np.asarray(embeddings, np.float32)


def stored_count(examples: int, width: int) -> int:
    """Number of examples that are stored of so many embeddings of `width`."""
    return min(examples, MOST_EXAMPLES, max(2, _MOST_NUMBERS // width))


def _from_other_groups(novelty: Novelty, rows: Array, groups: Array, all_groups: Array) -> Array:
    """Distances of `rows` to the nearest stored example of another group, infinite without one."""
    stored = all_groups[: len(novelty.examples)]
    found = []
    for part in parts_of(np.arange(len(rows)), _ROWS_AT_ONCE):
        distances = novelty.distances_to(rows[part])
        distances[groups[part][:, None] == stored] = np.inf
        found.append(distances.min(axis=1))
    return np.concatenate(found)


def novelty_metrics(
    novelty: Novelty, test: Array, targets: Array | None, stored: Array | None
) -> dict[str, float]:
    """Share of test examples that are `flagged` as unknown, and the `auroc` of leaving a class out.

    Parameters
    ----------
    novelty
        Fitted on training examples.
    test
        (N, D) embeddings.
    targets
        Classes (N,) of the test examples. None: no AUROC.
    stored
        Classes (M,) of the stored examples.

    Returns
    -------
    dict
        `auroc` is the probability that a test example of a class has the larger distance, if the training
        examples of its class are ignored, than one of another class; the mean over classes.
    """
    found = {"flagged": float((novelty(test) >= UNKNOWN).mean())}
    classes = np.unique([] if stored is None else stored)
    if targets is None or len(classes) < 2:
        return found
    rows = np.arange(0, len(test), -(-len(test) // _MOST_MEASURED))
    distances = np.concatenate([novelty.distances_to(part) for part in parts_of(test[rows], _ROWS_AT_ONCE)])
    by_class = np.stack([distances[:, stored == one].min(axis=1) for one in classes], axis=1)
    nearest, (first, second) = by_class.argmin(axis=1), np.partition(by_class, 1, axis=1)[:, :2].T
    areas = []
    for number, one in enumerate(classes[:_MOST_CLASSES]):
        without = np.where(nearest == number, second, first)
        outside = targets[rows] == one
        if 0 < outside.sum() < len(rows):
            areas.append(auroc(without[~outside], without[outside]))
    return {**found, "auroc": float(np.mean(areas))} if areas else found
