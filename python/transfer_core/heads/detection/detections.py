"""Detections from the outputs of a detector: candidates, non-maximum suppression, pixels of the photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from transfer_core.data.boxes import Detections, detections_of
from transfer_core.features.letterbox import Placement
from transfer_core.heads.detection.detector import Detector, Grids
from transfer_core.tasks.suppression import IOU

# Low, since thresholds are calibrated per class, and average precision considers 100 detections.
LEAST_SCORE, MOST_CANDIDATES, MOST_DETECTIONS = 0.05, 1000, 100


@torch.no_grad()
def detections(
    detector: Detector,
    outputs: Tensor,
    grids: Grids,
    placements: Sequence[Placement],
    sizes: Sequence[tuple[float, float]],
) -> list[Detections]:
    """Detections in N photos, in pixels of the photo.

    Parameters
    ----------
    detector, outputs
        A detector in eval mode, and its raw outputs (N, …).
    grids
        Sizes of the feature maps.
    placements, sizes
        Where each photo is on its input, and its width and height.
    """
    corners, scores = detector.decode(outputs, grids)
    rows = zip(corners, scores, placements, sizes, strict=True)
    return [_of_photo(*row) for row in rows]


def _of_photo(corners: Tensor, scores: Tensor, placement: Placement, size: tuple[float, float]) -> Detections:
    anchors, classes = torch.nonzero(scores >= LEAST_SCORE, as_tuple=True)
    found = scores[anchors, classes]
    if len(found) > MOST_CANDIDATES:
        best = found.topk(MOST_CANDIDATES).indices
        anchors, classes, found = anchors[best], classes[best], found[best]
    some = corners[anchors]
    kept = batched_nms(some, found, classes, IOU)[:MOST_DETECTIONS]
    in_photo = placement.to_image(some[kept].double().cpu().numpy())
    in_photo = np.clip(in_photo, 0, [*size, *size])
    sides = in_photo[:, 2:] - in_photo[:, :2]
    seen = (sides > 0).all(axis=1)  # not on the margin beside the photo
    return detections_of(in_photo[seen], classes[kept].cpu().numpy()[seen], found[kept].cpu().numpy()[seen])
