"""Faster R-CNN: proposals, then a class and a box for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image

from transfer_core.heads.detection.detector import Grids, PyramidDetector, Target, WithoutBackbone, as_dicts
from transfer_core.heads.detection.pyramid import Pyramid
from transfer_core.recipe.heads import FasterRcnnHead

_POOLED, _PROPOSALS, _DETECTIONS = 7, 200, 100
# Anchors and proposals per image that the loss is computed on; images of 320 pixels have few objects.
_SAMPLES = 128
# Candidates below it are hardly ever shown; torchvision's default for evaluation is higher than COCO's rules.
_LEAST_SCORE = 0.01


class FasterRcnn(PyramidDetector):
    """Faster R-CNN (Ren et al. 2015) on a feature pyramid.

    Its outputs are the levels of the pyramid (N, values): the parts that follow need the objects in training,
    so they are within `loss` and `decode`.
    """

    def __init__(
        self, spec: FasterRcnnHead, pyramid: Pyramid, image_size: int, strides: Sequence[int], classes: int
    ) -> None:
        super().__init__(pyramid, image_size)
        sizes = tuple((4 * stride,) for stride in (*strides, 2 * strides[-1]))
        self._channels, self._classes = spec.channels, classes
        self.detector = FasterRCNN(
            WithoutBackbone(spec.channels),
            min_size=image_size,
            max_size=image_size,
            rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            rpn_batch_size_per_image=_SAMPLES,
            rpn_pre_nms_top_n_train=2 * _PROPOSALS,
            rpn_pre_nms_top_n_test=2 * _PROPOSALS,
            rpn_post_nms_top_n_train=_PROPOSALS,
            rpn_post_nms_top_n_test=_PROPOSALS,
            box_roi_pool=MultiScaleRoIAlign([str(i) for i in range(len(strides))], _POOLED, 2),
            box_head=TwoMLPHead(spec.channels * _POOLED**2, spec.hidden),
            box_predictor=FastRCNNPredictor(spec.hidden, classes + 1),
            box_batch_size_per_image=_SAMPLES,
            box_score_thresh=_LEAST_SCORE,
            box_detections_per_img=_DETECTIONS,
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See `Detector`: the levels of the pyramid, flattened."""
        return torch.cat([level.flatten(1) for level in self.pyramid(maps)], dim=1)

    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """See `Detector`; torchvision takes means over sampled anchors and proposals."""
        images, levels = self._images(len(outputs)), self._levels(outputs, grids)
        objects = as_dicts(targets, 1)
        proposals, of_proposals = self.detector.rpn(images, levels, objects)
        _, of_boxes = self.detector.roi_heads(levels, proposals, images.image_sizes, objects)
        total: Tensor = sum({**of_proposals, **of_boxes}.values()) * len(targets)
        return total

    def decode(self, outputs: Tensor, grids: Grids) -> tuple[Tensor, Tensor]:
        """See `Detector`; overlapping boxes are already suppressed."""
        images, levels = self._images(len(outputs)), self._levels(outputs, grids)
        proposals, _ = self.detector.rpn(images, levels)
        found, _ = self.detector.roi_heads(levels, proposals, images.image_sizes)
        corners = outputs.new_zeros(len(outputs), _DETECTIONS, 4)
        scores = outputs.new_zeros(len(outputs), _DETECTIONS, self._classes)
        for row, one in enumerate(found):
            some = torch.arange(len(one["scores"]))
            corners[row, some] = one["boxes"]
            scores[row, some, one["labels"] - 1] = one["scores"]
        return corners, scores

    def candidates(self, maps: Sequence[Tensor], grids: Grids) -> tuple[Tensor, Tensor]:
        """See `Detector`."""
        levels = OrderedDict((str(number), level) for number, level in enumerate(self.pyramid(maps)))
        images = self._images(1)
        proposals, _ = self.detector.rpn(images, levels)
        [found], _ = self.detector.roi_heads(levels, proposals, images.image_sizes)
        is_own = found["labels"][:, None] == torch.arange(1, self._classes + 1)
        return found["boxes"], found["scores"][:, None] * is_own

    def logits(self, outputs: Tensor, grids: Grids) -> tuple[Tensor, Tensor]:
        """Logits of the probabilities of all proposals for one input, before suppression.

        In 32 bits the probability of a certain box is 1, and has no gradient; its logit has one.

        Returns
        -------
        corners : Tensor
            (P · K, 4): the box of each of P proposals for each class.
        logits : Tensor
            (P · K, K) float64.
        """
        images, levels = self._images(1), self._levels(outputs, grids)
        proposals, _ = self.detector.rpn(images, levels)
        heads = self.detector.roi_heads
        pooled = heads.box_roi_pool(levels, proposals, images.image_sizes)
        scores, deltas = heads.box_predictor(heads.box_head(pooled))
        corners = clip_boxes_to_image(heads.box_coder.decode(deltas, proposals), images.image_sizes[0])
        each = scores.double()[:, None].expand(-1, self._classes + 1, -1)
        own = torch.eye(self._classes + 1, dtype=torch.bool)
        logits = scores.double() - each.masked_fill(own, -torch.inf).logsumexp(dim=2)
        return corners[:, 1:].flatten(0, 1), logits[:, 1:].repeat_interleave(self._classes, dim=0)

    def _images(self, count: int) -> ImageList:
        size = (self.image_size, self.image_size)
        return ImageList(torch.empty(1, 1, 1, 1).expand(count, 1, *size), [size] * count)

    def _levels(self, outputs: Tensor, grids: Grids) -> dict[str, Tensor]:
        sizes = self.levels(grids)
        parts = torch.split(outputs, [self._channels * height * width for height, width in sizes], dim=1)
        return OrderedDict(
            (str(number), part.view(-1, self._channels, *size))
            for number, (part, size) in enumerate(zip(parts, sizes, strict=True))
        )
