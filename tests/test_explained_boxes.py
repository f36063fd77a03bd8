"""Explanations of boxes whose probability is 1 in 32 bits."""

import numpy as np
import pytest
import torch

from transfer_core.backbones.representations import FeatureMap
from transfer_core.data.boxes import Detections
from transfer_core.explain.boxes import BoxCase, explain_boxes
from transfer_core.features.letterbox import Letterboxed, Placement
from transfer_core.heads.detection.build import build_detector
from transfer_core.recipe.heads import FasterRcnnHead

SIZE = 64
MAPS = (FeatureMap("a", 8, 6), FeatureMap("b", 16, 7), FeatureMap("c", 32, 8))


@pytest.mark.parametrize("bias", [2.0, 30.0, 300.0])
def test_a_certain_box_of_faster_rcnn_has_a_heatmap(bias):
    torch.manual_seed(0)
    detector = build_detector(FasterRcnnHead(32, 16), MAPS, SIZE, 3, 0).eval()
    predictor = detector.detector.roi_heads.box_predictor
    with torch.no_grad():
        predictor.cls_score.bias[2] = bias
    maps = [torch.randn(1, one.channels, SIZE // one.stride, SIZE // one.stride) for one in MAPS]
    grids = tuple(tuple(x.shape[2:]) for x in maps)
    recorded = []
    handle = predictor.register_forward_hook(lambda *given: recorded.append(given[2][0].double()))
    with torch.no_grad():
        corners, scores = detector.decode(detector(maps), grids)
    handle.remove()
    row = int(scores[0, :, 1].argmax())
    score = float(scores[0, row, 1])
    assert (score == 1) == (bias > 20)
    boxes = Detections(corners[0, [row]].double().numpy(), np.array([1]), np.array([score]))
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    loaded = Letterboxed(pixels, Placement((0, 0, SIZE, SIZE), (0, 0, SIZE, SIZE)), (SIZE, SIZE))
    name, [found] = explain_boxes(BoxCase(loaded, detector, lambda _: maps, boxes, None), "auto")
    others = recorded[0][:, [0, 1, 3]].logsumexp(dim=1)
    assert name == "hirescam"
    assert (recorded[0][:, 2] - others - found.score).abs().min() < 1e-4
    assert np.abs(found.heatmap).max() > 1e-6
    if bias < 20:
        assert found.score == pytest.approx(np.log(score / (1 - score)), abs=1e-4)
