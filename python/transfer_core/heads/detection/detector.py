"""The interface of detection heads, and the targets that they are trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from transfer_core.heads.detection.pyramid import Pyramid

# Height and width of each map.
Grids: TypeAlias = tuple[tuple[int, int], ...]

# What a position without an object is matched with; other negative numbers: it takes no part in the loss.
BACKGROUND = -1


class Target(NamedTuple):
    """The objects in one network input, and the object that each position of the outputs is matched with.

    Attributes
    ----------
    corners
        (M, 4) float32: x1, y1, x2, y2 in pixels of the input.
    classes
        (M,) int64.
    matched
        (A,) int64, an index into the objects or a negative number; empty where matches are sampled.
    """

    corners: Tensor
    classes: Tensor
    matched: Tensor


class Detector(nn.Module, ABC):
    """Predicts boxes from feature maps.

    Parameters
    ----------
    image_size
        Side of the square inputs in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    @abstractmethod
    def fit(self, maps: Sequence[Tensor]) -> None:
        """Standardize the inputs by the statistics of `maps` (N, C, H, W), if they need it."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Raw outputs (N, …) for the maps of N inputs."""

    def match(self, grids: Grids, corners: Tensor, classes: Tensor) -> Target:
        """The target of an input with these objects, for maps of these sizes."""
        return Target(corners, classes, torch.empty(0, dtype=torch.int64))

    def weight(self, target: Target) -> float:
        """Weight of an input in the loss of a batch."""
        return 1.0

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """Sum over N inputs of their weighted losses, so that the losses of micro-batches add up."""

    @abstractmethod
    def decode(self, outputs: Tensor, grids: Grids) -> tuple[Tensor, Tensor]:
        """Candidates before non-maximum suppression.

        Returns
        -------
        corners : Tensor
            (N, A, 4) within the input, in its pixels.
        scores : Tensor
            (N, A, K), 0 to 1.
        """

    def candidates(self, maps: Sequence[Tensor], grids: Grids) -> tuple[Tensor, Tensor]:
        """Corners (A, 4) and scores (A, K) as by `decode`, for the maps of one input; can be traced."""
        corners, scores = self.decode(self(maps), grids)
        return corners[0], scores[0]


class PyramidDetector(Detector):
    """A feature pyramid and one of torchvision's detectors on it.

    Parameters
    ----------
    pyramid
        Maps of the backbone to levels of one width.
    image_size
        Side of the square inputs in pixels.
    """

    def __init__(self, pyramid: Pyramid, image_size: int) -> None:
        super().__init__(image_size)
        self.pyramid = pyramid

    def fit(self, maps: Sequence[Tensor]) -> None:
        """See `Detector`."""
        self.pyramid.fit(maps)

    def levels(self, grids: Grids) -> Grids:
        """Sizes of the pyramid's levels."""
        height, width = grids[-1]
        return (*grids, (-(-height // 2), -(-width // 2)))


def pack(targets: Sequence[Target]) -> Tensor:
    """Targets as one tensor (N, …) float32, which batches are made of; whole numbers stay exact."""
    capacity = max((len(target.classes) for target in targets), default=0)
    rows = []
    for target in targets:
        objects = torch.zeros(capacity, 5)
        objects[: len(target.classes), :4] = target.corners
        objects[: len(target.classes), 4] = target.classes
        counts = torch.tensor([len(target.classes), capacity], dtype=torch.float32)
        rows.append(torch.cat([counts, objects.flatten(), target.matched.float()]))
    return torch.stack(rows)


def unpack(packed: Tensor) -> list[Target]:
    """The targets of `pack`."""
    targets = []
    for row, (count, capacity) in zip(packed, packed[:, :2].long().tolist(), strict=True):
        objects = row[2 : 2 + 5 * capacity].view(capacity, 5)[:count]
        targets.append(Target(objects[:, :4], objects[:, 4].long(), row[2 + 5 * capacity :].long()))
    return targets


class WithoutBackbone(nn.Module):
    """Stands in torchvision's detectors for the backbone, which runs outside of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def as_dicts(targets: Sequence[Target], first_class: int = 0) -> list[dict[str, Any]]:
    """The objects as torchvision's detectors take them; classes are counted from `first_class`."""
    return [{"boxes": target.corners, "labels": target.classes + first_class} for target in targets]
