"""Detectors that predict at every position of the pyramid: FCOS, RetinaNet and SSD."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.ops import box_iou, clip_boxes_to_image

from transfer_core.heads.detection.detector import (
    BACKGROUND,
    Grids,
    PyramidDetector,
    Target,
    WithoutBackbone,
    as_dicts,
)
from transfer_core.heads.detection.pyramid import Pyramid
from transfer_core.recipe.heads import FcosHead, RetinanetHead, SsdHead

# torchvision's heads normalize in groups of channels.
_GROUPS = 32


class DenseDetector(PyramidDetector):
    """A detector whose outputs (N, A, …) belong to A anchors: per anchor class logits, box and more."""

    detector: Any

    def __init__(self, pyramid: Pyramid, image_size: int, strides: Sequence[int]) -> None:
        super().__init__(pyramid, image_size)
        self.strides = (*strides, 2 * strides[-1])
        self._anchors: dict[Grids, Tensor] = {}

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See `Detector`: (N, A, K + …), the outputs of the head one after the other."""
        outputs = self.detector.head(self.pyramid(maps))
        return torch.cat([outputs[name] for name in self._parts], dim=2)

    def anchors(self, grids: Grids) -> Tensor:
        """Anchors (A, 4) in pixels of the input, for maps of these sizes."""
        if grids not in self._anchors:
            self._anchors[grids] = self._make_anchors(self.levels(grids))
        return self._anchors[grids]

    def match(self, grids: Grids, corners: Tensor, classes: Tensor) -> Target:
        """See `Detector`."""
        if not len(corners):
            return Target(corners, classes, torch.full((len(self.anchors(grids)),), BACKGROUND))
        return Target(corners, classes, self._match(grids, corners))

    def decode(self, outputs: Tensor, grids: Grids) -> tuple[Tensor, Tensor]:
        """See `Detector`."""
        anchors = self.anchors(grids).to(outputs.device)
        corners, scores = self._decode(self._split(outputs), anchors)
        return clip_boxes_to_image(corners, (self.image_size, self.image_size)), scores

    # The outputs of the head: class logits, 4 numbers of a box, one of centerness.
    _parts: tuple[str, ...] = ("cls_logits", "bbox_regression")

    def _split(self, outputs: Tensor) -> dict[str, Tensor]:
        rest = [4, 1][: len(self._parts) - 1]
        widths = [outputs.shape[2] - sum(rest), *rest]
        return dict(zip(self._parts, torch.split(outputs, widths, dim=2), strict=True))

    def _make_anchors(self, levels: Grids) -> Tensor:
        generator = self.detector.anchor_generator
        generator.set_cell_anchors(torch.float32, torch.device("cpu"))
        strides = [[torch.tensor(stride)] * 2 for stride in self.strides]
        return torch.cat(generator.grid_anchors([list(size) for size in levels], strides))

    def _match(self, grids: Grids, corners: Tensor) -> Tensor:
        matched: Tensor = self.detector.proposal_matcher(box_iou(corners, self.anchors(grids)))
        return matched

    def _decode(self, outputs: dict[str, Tensor], anchors: Tensor) -> tuple[Tensor, Tensor]:
        regression = outputs["bbox_regression"]
        corners = torch.stack([self.detector.box_coder.decode_single(one, anchors) for one in regression])
        return corners, outputs["cls_logits"].sigmoid()

    def _batch(self, outputs: Tensor, grids: Grids) -> tuple[dict[str, Tensor], list[Tensor]]:
        return self._split(outputs), [self.anchors(grids).to(outputs.device)] * len(outputs)


class Float32GroupNorm(nn.GroupNorm):
    """GroupNorm in float32 under autocast too: on CPUs, its gradient in bfloat16 is several times slower."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) -> the same shape, float32."""
        return super().forward(x.float())


class Fcos(DenseDetector):
    """FCOS (Tian et al. 2020): distances to the four sides and centerness, at positions within an object."""

    _parts = ("cls_logits", "bbox_regression", "bbox_ctrness")

    def __init__(
        self, spec: FcosHead, pyramid: Pyramid, image_size: int, strides: Sequence[int], classes: int
    ):
        super().__init__(pyramid, image_size, strides)
        sizes = tuple((stride,) for stride in self.strides)
        self.detector = FCOS(
            WithoutBackbone(spec.channels),
            classes,
            anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
            head=_with_float32_norms(FCOSHead(spec.channels, 1, classes, spec.layers)),
        )

    def weight(self, target: Target) -> float:
        """Number of positions within objects: torchvision divides the loss of a batch by their sum."""
        return max(1.0, float((target.matched >= 0).sum()))

    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """See `Detector`."""
        split, anchors = self._batch(outputs, grids)
        matched = [target.matched for target in targets]
        losses = self.detector.head.compute_loss(as_dicts(targets), split, anchors, matched)
        total: Tensor = sum(losses.values()) * _foreground(targets)
        return total

    def _match(self, grids: Grids, corners: Tensor) -> Tensor:
        counts = [height * width for height, width in self.levels(grids)]
        labels = torch.zeros(len(corners), dtype=torch.int64)
        given: Any = [{"boxes": corners, "labels": labels}]
        matched: Any = FCOS.compute_loss(cast(Any, _Matching()), given, {}, [self.anchors(grids)], counts)
        found: Tensor = matched[0]
        return found

    def _decode(self, outputs: dict[str, Tensor], anchors: Tensor) -> tuple[Tensor, Tensor]:
        regression = outputs["bbox_regression"]
        corners = self.detector.box_coder.decode(regression, anchors.expand(len(regression), -1, -1))
        scores = outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()
        return corners, scores.sqrt()


class _Matching:
    """Stands in `FCOS.compute_loss` for the detector and its head, so that it returns the matches."""

    center_sampling_radius = 1.5

    @property
    def head(self) -> _Matching:
        return self

    def compute_loss(self, targets: Any, outputs: Any, anchors: Any, matched: list[Tensor]) -> list[Tensor]:
        return matched


class Retinanet(DenseDetector):
    """RetinaNet (Lin et al. 2017, Focal loss): nine anchors per position."""

    def __init__(
        self, spec: RetinanetHead, pyramid: Pyramid, image_size: int, strides: Sequence[int], classes: int
    ):
        super().__init__(pyramid, image_size, strides)
        sizes = tuple(tuple(int(4 * stride * 2 ** (i / 3)) for i in range(3)) for stride in self.strides)
        generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        norm = partial(Float32GroupNorm, _GROUPS)
        head = RetinaNetHead(spec.channels, generator.num_anchors_per_location()[0], classes, norm)
        for tower in (head.classification_head.conv, head.regression_head.conv):
            del tower[spec.layers :]
        self.detector = RetinaNet(
            WithoutBackbone(spec.channels), classes, anchor_generator=generator, head=head
        )

    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """See `Detector`; torchvision takes the mean over images."""
        split, anchors = self._batch(outputs, grids)
        matched = [target.matched for target in targets]
        losses = self.detector.head.compute_loss(as_dicts(targets), split, anchors, matched)
        total: Tensor = sum(losses.values()) * len(targets)
        return total


class Ssd(DenseDetector):
    """SSD (Liu et al. 2016): default boxes with one convolution, a softmax and hard negative mining."""

    def __init__(
        self, spec: SsdHead, pyramid: Pyramid, image_size: int, strides: Sequence[int], classes: int
    ):
        super().__init__(pyramid, image_size, strides)
        levels = len(self.strides)
        generator = DefaultBoxGenerator([[2, 3]] * levels, min_ratio=0.1, max_ratio=0.9)
        head = SSDHead([spec.channels] * levels, generator.num_anchors_per_location(), classes + 1)
        _start_small(head)
        size = (image_size, image_size)
        self.detector = SSD(WithoutBackbone(spec.channels), generator, size, classes + 1, head=head)

    def weight(self, target: Target) -> float:
        """Number of matched default boxes: torchvision divides the loss of a batch by their sum."""
        return max(1.0, float((target.matched >= 0).sum()))

    def loss(self, outputs: Tensor, targets: Sequence[Target], grids: Grids) -> Tensor:
        """See `Detector`."""
        split, anchors = self._batch(outputs, grids)
        matched = [target.matched for target in targets]
        split["cls_logits"] = split["cls_logits"].contiguous()  # torchvision calls `view`
        losses = self.detector.compute_loss(as_dicts(targets, 1), split, anchors, matched)
        total: Tensor = sum(losses.values()) * _foreground(targets)
        return total

    def _make_anchors(self, levels: Grids) -> Tensor:
        maps = [torch.empty(1, 1, *size) for size in levels]
        size = (self.image_size, self.image_size)
        anchors: list[Tensor] = self.detector.anchor_generator(
            ImageList(torch.empty(1, 1, *size), [size]), maps
        )
        return anchors[0]

    def _decode(self, outputs: dict[str, Tensor], anchors: Tensor) -> tuple[Tensor, Tensor]:
        corners, _ = super()._decode(outputs, anchors)
        return corners, outputs["cls_logits"].softmax(dim=2)[:, :, 1:]  # the first class is the background


def _with_float32_norms(head: nn.Module) -> nn.Module:
    for parent in list(head.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.GroupNorm:
                setattr(parent, name, Float32GroupNorm(child.num_groups, child.num_channels))
    return head


@torch.no_grad()
def _start_small(head: nn.Module) -> None:
    """Small initial outputs, as those of RetinaNet's head; larger ones cost hundreds of steps."""
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)


def _foreground(targets: Sequence[Target]) -> int:
    return max(1, sum(int((target.matched >= 0).sum()) for target in targets))
