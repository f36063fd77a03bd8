"""Build the detector of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from transfer_core.backbones.representations import FeatureMap
from transfer_core.heads.detection.dense import Fcos, Retinanet, Ssd
from transfer_core.heads.detection.detector import Detector
from transfer_core.heads.detection.faster_rcnn import FasterRcnn
from transfer_core.heads.detection.pyramid import Pyramid
from transfer_core.heads.detection.queries import Queries
from transfer_core.recipe.heads import (
    DetectionHead,
    FasterRcnnHead,
    FcosHead,
    QueriesHead,
    RetinanetHead,
    SsdHead,
)

# Objects that a stride of 4 would add are below 8 pixels of the input; it takes three quarters of the time.
_LEAST_STRIDE, _MOST_MAPS = 8, 3

_DETECTORS: dict[type, Callable[..., Detector]] = {
    FcosHead: Fcos,
    RetinanetHead: Retinanet,
    SsdHead: Ssd,
    FasterRcnnHead: FasterRcnn,
}


def maps_used(maps: Sequence[FeatureMap]) -> tuple[FeatureMap, ...]:
    """The maps that a detector uses: up to three of stride 8 and more, or the last one."""
    coarse = [found for found in maps if found.stride >= _LEAST_STRIDE]
    return tuple((coarse or list(maps[-1:]))[:_MOST_MAPS])


def build_detector(
    spec: DetectionHead, maps: Sequence[FeatureMap], image_size: int, classes: int, seed: int
) -> Detector:
    """Return a new detector in training mode.

    Parameters
    ----------
    spec
        The head of a recipe.
    maps
        The feature maps of the backbone.
    image_size
        Side of the square inputs in pixels.
    classes
        K, without the background.
    seed
        Seed of the initial weights.
    """
    used = maps_used(maps)
    if isinstance(spec, QueriesHead):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Queries(spec, used[0].channels, image_size, classes)
    make: Any = _DETECTORS[type(spec)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pyramid = Pyramid([found.channels for found in used], spec.channels)
        detector: Detector = make(spec, pyramid, image_size, [found.stride for found in used], classes)
    detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return detector
