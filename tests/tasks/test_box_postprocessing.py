"""Suppression against torchvision, tiles of large photos, and predictions of the task."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from transfer_core.data import Dataset
from transfer_core.data.boxes import boxes_of, detections_of, ragged
from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.metrics.box_calibration import calibrated
from transfer_core.tasks.coverage import quantile
from transfer_core.tasks.detection import Detection, DetectionState
from transfer_core.tasks.suppression import suppress
from transfer_core.tasks.tiling import Tile, merge, tiles


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_suppression_equals_torchvision(seed, iou):
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 60, (300, 2)).astype(float)
    corners = np.hstack([at, at + rng.integers(1, 40, (300, 2))])
    classes, scores = rng.integers(0, 4, 300), rng.permutation(300) / 300
    found = suppress(detections_of(corners, classes, scores), iou)
    kept = batched_nms(*(torch.from_numpy(column) for column in (corners, scores, classes)), iou).numpy()
    assert 0 < len(kept) < 300
    assert found.scores.tolist() == scores[kept].tolist()
    assert found.corners.tolist() == corners[kept].tolist()


def test_nothing_to_suppress():
    assert len(suppress(detections_of([], [], []))) == 0
    assert len(suppress(detections_of(np.arange(16).reshape(4, 4), range(4), np.ones(4)), most=2)) == 2


@pytest.mark.parametrize("size", [(4000, 3000), (640, 100), (1000, 641), (30_000, 30_000)])
def test_tiles_cover_the_photo_with_overlap(size):
    whole, *cuts = tiles(*size, 320)
    assert whole == (0, 0, *size)
    assert len(cuts) <= 400
    edge = cuts[0].x2
    covered = np.zeros((size[1] // 10 + 1, size[0] // 10 + 1), int)
    for cut in cuts:
        assert 0 <= cut.x1 < cut.x2 <= size[0]
        assert 0 <= cut.y1 < cut.y2 <= size[1]
        covered[cut.y1 // 10 : cut.y2 // 10 + 1, cut.x1 // 10 : cut.x2 // 10 + 1] += 1
    assert (covered > 0).all()
    across = sorted({cut.x1 for cut in cuts})
    assert all(second - first <= edge * 0.75 + 1 for first, second in pairwise(across))


def test_a_small_photo_is_one_tile():
    assert tiles(400, 300, 320) == [Tile(0, 0, 400, 300)]


def test_boxes_of_tiles_are_merged():
    places = tiles(600, 300, 300)
    objects = np.array([[280.0, 100, 320, 140], [10, 10, 30, 30], [100, 50, 500, 250]])
    parts = []
    for place in places:
        corners = np.clip(objects, [place.x1, place.y1] * 2, [place.x2, place.y2] * 2)
        seen = (corners[:, 2:] - corners[:, :2] > 5).all(axis=1)
        # The cut parts of the large object have the highest scores.
        scores = np.where((corners != objects).any(axis=1), 0.95, 0.9)
        inside = corners - np.array([place.x1, place.y1] * 2)
        parts.append(detections_of(inside[seen], np.array([0, 0, 1])[seen], scores[seen]))
    found = merge(parts, places)
    assert sorted(found.corners.tolist()) == sorted(objects.tolist())
    assert sorted(found.classes.tolist()) == [0, 0, 1]


@pytest.fixture
def calibrated_state():
    rng = np.random.default_rng(0)
    truth = [boxes_of([[20, 20, 60, 80]], [0], size=(200, 100)) for _ in range(40)]
    found = [
        detections_of(
            [np.array([20, 20, 60, 80]) + rng.normal(0, 2, 4), [100, 0, 150, 50]], [0, 0], [0.6, 0.4]
        )
        for _ in truth
    ]
    task = Detection()
    state = task.fit(["stop", "turn"], Dataset(("a",) * 40, ("a",) * 40, ragged(truth)))
    return task, task.calibrate(state, found, ragged(truth))


def test_calibration(calibrated_state):
    _, state = calibrated_state
    assert state.label_counts == (40, 0)
    assert state.typical[0] == pytest.approx((0.2, 0.5, 0.2, 0.6))
    # Scores of 0.6 are always right and of 0.4 never: the threshold lies between their calibrated scores.
    right, wrong = calibrated([0.6, 0.4], state.slope, state.offset)
    assert 0.9 < right < 1
    assert 0 < wrong < 0.1
    assert wrong < state.thresholds[0] < right
    assert len(state.nonconformity) == 40


def test_predictions_are_plain_data_in_pixels(calibrated_state):
    task, state = calibrated_state
    found = detections_of([[-5, 20, 60, 80], [100, 0, 150, 50], [0, 0, 9, 9]], [0, 0, 1], [0.99, 0.01, 0.7])
    answer = task.prediction(found, (200, 100), ["stop", "turn"], state, 0.9)
    assert (answer["width"], answer["height"]) == (200, 100)
    first, second = answer["boxes"]
    margin = quantile(state.nonconformity, 0.9)
    outer = first.pop("outer")
    assert first == {"label": "stop", "x": 0, "y": 20, "width": 60, "height": 60, "score": 0.99}
    around = {"x": 0, "y": 20 - 60 * margin, "width": 60 * (1 + margin), "height": 60 * (1 + 2 * margin)}
    assert outer == pytest.approx(around)
    assert (second["label"], set(second)) == (
        "turn",
        {"label", "x", "y", "width", "height", "score", "outer"},
    )
    assert "outer" not in task.prediction(found, (200, 100), ["stop", "turn"], state, None)["boxes"][0]


def test_the_state_survives_a_model_file(calibrated_state):
    _, state = calibrated_state
    assert msgspec.convert(msgspec.to_builtins(state), DetectionState) == state
    assert list(state.problems(("stop", "turn"))) == []
    assert list(state.problems(("stop",))) == [
        f"{field}: expected 1 values, one for each label, or none (got 2)"
        for field in ("label_counts", "typical", "thresholds")
    ]


def test_metrics_of_the_task(calibrated_state):
    task, state = calibrated_state
    truth = ragged([boxes_of([[20, 20, 60, 80]], [0], size=(200, 100)) for _ in range(30)])
    found = [detections_of([[20, 20, 60, 80]], [0], [0.99]) for _ in truth]
    metrics = task.metrics(found, truth, ["stop", "turn"], state, 0)
    assert metrics["average_precision"] == 1.0
    assert metrics["baseline"]["average_precision"] == 1.0  # the objects are always at the same place
    assert (metrics["conformal"]["coverage"], metrics["conformal"]["calibrated_on"]) == (1.0, 40)
    (warning,) = baseline_warnings(metrics)
    assert warning.startswith("no better than the mean box of each class: average_precision 1 (95 % interval")
