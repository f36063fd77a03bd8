"""Detectors on feature maps, compared with torchvision's complete detectors of the same weights."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from transfer_core.backbones.representations import FeatureMap
from transfer_core.features.letterbox import Placement
from transfer_core.heads.detection import detections as module
from transfer_core.heads.detection.build import build_detector, maps_used
from transfer_core.heads.detection.detector import pack, unpack
from transfer_core.recipe.heads import FasterRcnnHead, FcosHead, RetinanetHead, SsdHead
from transfer_core.tasks.suppression import IOU

SIZE, CLASSES = 128, 3
MAPS = (FeatureMap("a", 4, 5), FeatureMap("b", 8, 6), FeatureMap("c", 16, 7), FeatureMap("d", 32, 8))
HEADS = [FcosHead(32, 1), RetinanetHead(32, 1), SsdHead(32), FasterRcnnHead(32, 16)]
WHOLE = Placement((0, 0, SIZE, SIZE), (0, 0, SIZE, SIZE))


class Trunk(nn.Module):
    """Images to maps of strides 8, 16 and 32, and their pyramid, as torchvision takes a backbone."""

    out_channels = 32

    def __init__(self, pyramid):
        super().__init__()
        self.pyramid = pyramid
        self.layers = nn.ModuleList(nn.Conv2d(3, width, 1) for width in (6, 7, 8))

    def maps(self, images):
        smaller = (nn.functional.avg_pool2d(images, stride) for stride in (8, 16, 32))
        return [layer(x) for layer, x in zip(self.layers, smaller, strict=True)]

    def forward(self, images):
        levels = self.pyramid(self.maps(images))
        return OrderedDict((str(number), level) for number, level in enumerate(levels))


@pytest.fixture(params=HEADS, ids=lambda head: head.__struct_config__.tag)
def spec(request):
    return request.param


@pytest.fixture
def detector(spec):
    return build_detector(spec, MAPS, SIZE, CLASSES, seed=1)


@pytest.fixture
def trunk(detector):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        trunk = Trunk(detector.pyramid)
        images = torch.rand(64, 3, SIZE, SIZE)
    with torch.no_grad():
        detector.pyramid.fit(trunk.maps(images))
    return trunk


@pytest.fixture
def images():
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def published(detector, trunk):
    """torchvision's detector with the same parts."""
    parts = detector.detector
    options = {"min_size": SIZE, "max_size": SIZE, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    match parts:
        case FCOS() | RetinaNet():
            options |= {"anchor_generator": parts.anchor_generator, "head": parts.head}
            options |= {"score_thresh": module.LEAST_SCORE, "nms_thresh": IOU}
            return type(parts)(trunk, CLASSES, **options)
        case SSD():
            options = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "head": parts.head}
            options |= {"score_thresh": module.LEAST_SCORE, "nms_thresh": IOU, "detections_per_img": 100}
            return SSD(trunk, parts.anchor_generator, (SIZE, SIZE), CLASSES + 1, **options)
        case FasterRCNN():
            rpn, heads = parts.rpn, parts.roi_heads
            model = FasterRCNN(trunk, CLASSES + 1, **options)
            model.rpn, model.roi_heads = rpn, heads
            return model


def grids_of(maps):
    return tuple((x.shape[2], x.shape[3]) for x in maps)


def objects():
    corners = [[[10.0, 12, 50, 60], [40, 8, 90, 40]], [[5, 5, 90, 92]], [[60, 60, 80, 90]]]
    return [torch.tensor(some) for some in corners], [torch.tensor(some) for some in ([0, 2], [1], [2])]


def test_the_loss_is_torchvisions(detector, trunk, images):
    maps = trunk.maps(images)
    grids = grids_of(maps)
    targets = [detector.match(grids, *some) for some in zip(*objects(), strict=True)]
    torch.manual_seed(4)
    torch.rand(3)  # torchvision draws a size for each image
    loss = detector.loss(detector(maps), unpack(pack(targets)), grids) / sum(map(detector.weight, targets))
    first = int(isinstance(detector.detector, SSD | FasterRCNN))
    labelled = [{"boxes": a, "labels": b + first} for a, b in zip(*objects(), strict=True)]
    model = published(detector, trunk).train()
    torch.manual_seed(4)
    expected = model(list(images), labelled)
    assert loss.item() == pytest.approx(sum(expected.values()).item(), rel=1e-5)


def test_the_detections_are_torchvisions(detector, trunk, images):
    with torch.no_grad():
        for layer in detector.detector.modules():  # not all scores near that of the background
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.mul_(8)
    detector.eval()
    maps = trunk.eval().maps(images)
    found = module.detections(detector, detector(maps), grids_of(maps), [WHOLE] * 3, [(SIZE, SIZE)] * 3)
    with torch.no_grad():
        expected = published(detector, trunk).eval()(list(images))
    first = int(isinstance(detector.detector, SSD | FasterRCNN))
    assert sum(map(len, found)) > 20
    for ours, every in zip(found, expected, strict=True):
        # torchvision keeps empty boxes, and has a lower least score for proposals.
        kept = (every["boxes"][:, 2:] > every["boxes"][:, :2]).all(dim=1)
        kept &= every["scores"] >= module.LEAST_SCORE
        theirs = {name: values[kept] for name, values in every.items()}
        scores = theirs["scores"][:20].numpy()
        np.testing.assert_allclose(ours.scores[: len(scores)], scores, rtol=1e-4)
        for row, score in enumerate(scores):
            if (np.abs(every["scores"].numpy() - score) < 1e-4).sum() == 1:  # its place is certain
                assert ours.classes[row] == theirs["labels"][row] - first
                np.testing.assert_allclose(ours.corners[row], theirs["boxes"][row], atol=1e-2)


def test_losses_of_micro_batches_add_up(detector, trunk, images):
    if isinstance(detector.detector, FasterRCNN):
        pytest.skip("samples proposals")
    maps = trunk.maps(images)
    grids = grids_of(maps)
    targets = [detector.match(grids, *some) for some in zip(*objects(), strict=True)]
    outputs = detector(maps)
    parts = [detector.loss(outputs[i : i + 1], targets[i : i + 1], grids).item() for i in range(3)]
    assert sum(parts) == pytest.approx(detector.loss(outputs, targets, grids).item(), rel=1e-5)


def test_images_without_objects_have_a_loss(detector, trunk, images):
    maps = trunk.maps(images[:1])
    grids = grids_of(maps)
    target = detector.match(grids, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert detector.loss(detector(maps), unpack(pack([target])), grids).isfinite()


def test_the_maps_that_are_used():
    assert [found.stride for found in maps_used(MAPS)] == [8, 16, 32]
    assert [found.stride for found in maps_used(MAPS[:1])] == [4]


def test_statistics_of_maps(detector, trunk, images):
    maps = trunk.maps(images)
    detector.pyramid.fit(maps)
    for standardize, x in zip(detector.pyramid.inputs, maps, strict=True):
        z = standardize(x)
        torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(z.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(z.shape[1]), atol=1e-3, rtol=0)
