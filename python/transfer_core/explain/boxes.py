"""Explanations of detected boxes: HiResCAM on the level of the feature pyramid that gave the box, else
occlusion."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from transfer_core.data.boxes import Detections
from transfer_core.explain.methods import check_method
from transfer_core.explain.occlusion import averaged, covered_squares
from transfer_core.features.letterbox import Letterboxed
from transfer_core.features.pixels import Pixels
from transfer_core.heads.detection.detector import Detector, Grids, PyramidDetector
from transfer_core.heads.detection.faster_rcnn import FasterRcnn
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks.criteria import Array

METHODS = ("hirescam", "occlusion")
# Boxes that are explained at most, those with the highest scores; probabilities are cut
# where their logits are computed.
MOST_BOXES, _NEAREST, _LEAST = 20, 1e-15, 1e-3


@dataclass(frozen=True)
class BoxCase:
    """A photo and the boxes that are explained.

    Attributes
    ----------
    loaded
        The photo as the network takes it.
    detector
        The detector, in eval mode.
    maps
        Computes feature maps (N, C, H, W) of N inputs.
    boxes
        Detections in pixels of the photo, with the scores of the network.
    against
        The class whose score is subtracted; None without one.
    """

    loaded: Letterboxed
    detector: Detector
    maps: Callable[[Sequence[Pixels]], list[Tensor]]
    boxes: Detections
    against: int | None


class BoxAttribution(NamedTuple):
    """The explained number of a box, and contributions (h, w) of the places of the square input to it."""

    score: float
    heatmap: Array


def explain_boxes(case: BoxCase, method: str) -> tuple[str, list[BoxAttribution]]:
    """The name of the method, and its result for each box.

    The score of a box is the logit of its probability, less that of `against` at the same place.

    Raises
    ------
    RecipeError
        At `method`, if it is unknown or does not apply to the detector.
    """
    check_method(method, METHODS)
    by_gradient = isinstance(case.detector, PyramidDetector)
    if method == "hirescam" and not by_gradient:
        reason = "its detector computes on object queries, not on maps of the image"
        raise RecipeError([Problem("method", f'"hirescam" does not apply: {reason}. Fix: use "occlusion"')])
    if by_gradient and method != "occlusion":
        return "hirescam", list(_class_activations(case))
    return "occlusion", _occluded(case)


def _class_activations(case: BoxCase) -> Sequence[BoxAttribution]:
    """The sum over channels of A · ∂s/∂A, with A the level of the pyramid with the largest products."""
    detector = copy.copy(case.detector)  # its modules are replaced while other threads predict
    detector._modules = dict(case.detector._modules)
    assert isinstance(detector, PyramidDetector)
    maps = case.maps([case.loaded.pixels])
    with torch.no_grad():
        levels = [level.requires_grad_() for level in detector.pyramid(maps)]
    detector.pyramid = _Given(levels)  # type: ignore[assignment]
    found = []
    with torch.enable_grad():
        corners, logits = _logits(detector, maps)
        for score in _contrast(case, logits, _places(case, corners, logits.sigmoid())):
            gradients = torch.autograd.grad(score, levels, retain_graph=True)
            products = [(a * g)[0].detach().sum(dim=0) for a, g in zip(levels, gradients, strict=True)]
            own = max(products, key=lambda one: float(one.abs().sum()))
            found.append(BoxAttribution(float(score.detach()), own.double().cpu().numpy()))
    return found


class _Given(nn.Module):
    """Levels of a pyramid that are computed already."""

    def __init__(self, levels: list[Tensor]) -> None:
        super().__init__()
        self._levels = levels

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The levels, whatever the maps."""
        return self._levels


@torch.no_grad()
def _occluded(case: BoxCase) -> list[BoxAttribution]:
    """The drop of the score where squares of the photo are covered, as `occlusion.occluded_image`.

    The score is the logit of the largest product of probability and IoU with the box, over all outputs
    (Petsiuk et al. 2021, D-RISE): detectors give no box at the same place of their outputs each time.
    """
    pixels, placement = case.loaded.pixels, case.loaded.placement
    _, _, width, height = placement.rectangle
    boxes = torch.from_numpy(placement.to_canvas(case.boxes.corners))
    views = [pixels]
    for covered in covered_squares(pixels[:height, :width]):
        views.append(pixels.copy())
        views[-1][:height, :width] = covered
    rows = []
    for view in views:
        corners, scores = _decoded(case.detector, case.maps([view]))
        near = box_iou(boxes, corners.double().cpu())[..., None] * scores.double().cpu()  # (B, A, K)
        logits = torch.logit(near.amax(dim=1), _LEAST)
        rows.append(_contrast(case, logits, range(len(boxes))).numpy())
    table = np.array(rows).reshape(len(views), len(boxes))
    return [BoxAttribution(float(column[0]), averaged(column[0] - column[1:])) for column in table.T]


def _decoded(detector: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Corners (A, 4) and scores (A, K) of one input."""
    corners, scores = detector.decode(detector(maps).float(), _grids(maps))
    return corners[0], scores[0]


def _logits(detector: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Corners (A, 4) and the logits (A, K) of the scores of one input, in 64 bits: in 32 bits the
    probability of a certain box is 1, without a gradient."""
    outputs = detector(maps).float()
    if isinstance(detector, FasterRcnn):
        return detector.logits(outputs, _grids(maps))
    corners, scores = detector.decode(outputs.double(), _grids(maps))
    return corners[0], torch.logit(scores[0], _NEAREST)


def _grids(maps: list[Tensor]) -> Grids:
    return tuple((x.shape[2], x.shape[3]) for x in maps)


def _places(case: BoxCase, corners: Tensor, scores: Tensor) -> list[int]:
    """The output of each box: the one with its corners and score."""
    placement, size = case.loaded.placement, case.loaded.size
    in_photo = placement.to_image(corners.detach().double().cpu().numpy())
    in_photo = np.clip(in_photo, 0, [*size, *size])
    table = scores.detach().double().cpu().numpy()
    boxes = zip(case.boxes.corners, case.boxes.classes.tolist(), case.boxes.scores, strict=True)
    return [
        int((np.abs(in_photo - four).max(axis=1) / max(size) + np.abs(table[:, kind] - score)).argmin())
        for four, kind, score in boxes
    ]


def _contrast(case: BoxCase, logits: Tensor, rows: Sequence[int]) -> Tensor:
    """The explained number (B,) of each box, from logits (A, K) and the row of each."""
    found = logits[rows, case.boxes.classes.tolist()]
    return found if case.against is None else found - logits[rows, case.against]
