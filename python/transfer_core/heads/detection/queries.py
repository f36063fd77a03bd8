"""Predictions of object queries, with the loss of DETR."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_convert, clip_boxes_to_image, generalized_box_iou

from transfer_core.heads.detection.detector import Detector, Grids, Target
from transfer_core.recipe.heads import QueriesHead

# Weights of the losses and, with the class, of the costs of matching; the weight of "no object" (DETR, A.4).
_L1, _GIOU, _NO_OBJECT = 5.0, 2.0, 0.1


class Queries(Detector):
    """A class for each query and a correction of its box (Carion et al. 2020, DETR).

    A map holds the state of a query in its first channels, and in the last four the logits of its box: centre
    x, centre y, width and height as shares of the input. Outputs are (N, Q, K + 1 + 4), the last class is
    "no object". At first the boxes are those of the map.
    """

    def __init__(self, spec: QueriesHead, channels: int, image_size: int, classes: int) -> None:
        super().__init__(image_size)
        width = channels - 4
        self.classes = _dense(width, spec.hidden, classes + 1)
        self.boxes = _dense(width, spec.hidden, 4)
        nn.init.zeros_(self.boxes[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.boxes[-1].bias)  # type: ignore[arg-type]

    def fit(self, maps: Sequence[Tensor]) -> None:
        """See `Detector`; states are normalized already."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See `Detector`."""
        queries = maps[0].flatten(2).transpose(1, 2)
        states, boxes = queries[..., :-4], queries[..., -4:]
        return torch.cat((self.classes(states), boxes + self.boxes(states)), 2)

    def weight(self, target: Target) -> float:
        """Number of objects: the losses of boxes are divided by their sum."""
        return max(1.0, float(len(target.classes)))

    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """See `Detector`: cross-entropy, L1 and generalized IoU of the cheapest assignment."""
        logits, boxes = outputs[..., :-4], outputs[..., -4:].sigmoid()
        truth = [self._shares(target.corners) for target in targets]
        labels = torch.full(logits.shape[:2], logits.shape[2] - 1, device=logits.device)
        off_boxes = outputs.new_zeros(())
        for row, (target, true) in enumerate(zip(targets, truth, strict=True)):
            queries, objects = _assigned(logits[row], boxes[row], target.classes, true)
            labels[row, queries] = target.classes[objects]
            found, wanted = boxes[row, queries], true[objects]
            overlap = generalized_box_iou(_corners(found), _corners(wanted)).diagonal()
            off_boxes = off_boxes + _L1 * (found - wanted).abs().sum() + _GIOU * (1 - overlap).sum()
        weights = logits.new_ones(logits.shape[2])
        weights[-1] = _NO_OBJECT
        off_classes = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), weights)
        count = sum(len(target.classes) for target in targets)
        total: Tensor = (off_classes + off_boxes / max(1, count)) * sum(map(self.weight, targets))
        return total

    def decode(self, outputs: Tensor, grids: Grids) -> tuple[Tensor, Tensor]:
        """See `Detector`."""
        size = self.image_size
        corners = _corners(outputs[..., -4:].sigmoid()) * size
        return clip_boxes_to_image(corners, (size, size)), outputs[..., :-4].softmax(dim=2)[..., :-1]

    def _shares(self, corners: Tensor) -> Tensor:
        shares: Tensor = box_convert(corners / self.image_size, "xyxy", "cxcywh")
        return shares


@torch.no_grad()
def _assigned(logits: Tensor, boxes: Tensor, classes: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and the objects assigned to them, one query for each object, at the least total cost."""
    cost = -logits.softmax(dim=1)[:, classes] + _L1 * torch.cdist(boxes, true, p=1)
    cost = cost - _GIOU * generalized_box_iou(_corners(boxes), _corners(true))
    queries, objects = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(queries), torch.as_tensor(objects)


def _corners(boxes: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners


def _dense(width: int, hidden: int, outputs: int) -> nn.Sequential:
    first, second = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(hidden, outputs))
