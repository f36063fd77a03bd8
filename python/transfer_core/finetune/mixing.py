"""MixUp and CutMix: training images and targets mixed with those of another example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from transfer_core.features import Pixels
from transfer_core.recipe.augmentations import CutMix, Mixing


class Mix(NamedTuple):
    """How an example is mixed: the `share` of its own target, the number of the `other` example, and the
    rectangle (left, top, right, bottom) that shows it, as shares of the sides; None: both are blended."""

    share: float
    other: int
    rectangle: tuple[float, float, float, float] | None

    def pixels(self, own: Pixels, other: Pixels) -> Pixels:
        """Mix two images (H, W, 3)."""
        if self.rectangle is None:
            blended = self.share * own.astype(np.float32) + (1 - self.share) * other
            return np.rint(blended).astype(np.uint8)
        height, width = own.shape[:2]
        left, top, right, bottom = self.rectangle
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        mixed = own.copy()
        mixed[rows, columns] = other[rows, columns]
        return mixed


@dataclass(frozen=True)
class Mixer:
    """Mixes of the examples with these `digests`, determined by example, seed and epoch; one of several
    `methods` is drawn for each."""

    methods: Sequence[Mixing]
    digests: Sequence[str]
    seed: int

    def mix(self, number: int, epoch: int) -> Mix:
        """The mix of an example in an epoch."""
        rng = np.random.default_rng([self.seed, epoch, int(self.digests[number][:16], 16), 1])
        method = self.methods[int(rng.integers(len(self.methods)))]
        other, share = int(rng.integers(len(self.digests))), float(rng.beta(method.alpha, method.alpha))
        if not isinstance(method, CutMix):
            return Mix(share, other, None)
        half = (1 - share) ** 0.5 / 2
        x, y = rng.random(2).tolist()
        left, top, right, bottom = max(0, x - half), max(0, y - half), min(1, x + half), min(1, y + half)
        return Mix(1 - (right - left) * (bottom - top), other, (left, top, right, bottom))

    def targets(self, targets: Tensor, weights: Tensor, chunk: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Targets and weights of the examples `chunk` in an epoch, mixed.

        Parameters
        ----------
        targets
            (N, K) of all examples; see `soft`.
        weights
            (N,) or (N, K) of all examples.
        chunk
            (B,) numbers of examples.
        """
        mixes = [self.mix(number, epoch) for number in chunk.tolist()]
        others = torch.tensor([mix.other for mix in mixes])
        shares = torch.tensor([mix.share for mix in mixes])

        def mixed(rows: Tensor) -> Tensor:
            by_row = shares.view(-1, *[1] * (rows.ndim - 1))
            return by_row * rows[chunk] + (1 - by_row) * rows[others]

        return mixed(targets), mixed(weights)


def soft(targets: Tensor, outputs: int) -> Tensor:
    """Classes (N,), labels (N, K) or values (N, K) as float32 (N, K), classes as one 1 each."""
    return (one_hot(targets, outputs) if targets.ndim == 1 else targets).float()
