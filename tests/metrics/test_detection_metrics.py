"""Metrics of object detection against pycocotools, on random and adversarial sets."""

import contextlib
import io

import numpy as np
import pytest

from transfer_core.data.boxes import boxes_of, detections_of
from transfer_core.metrics.average_precision import COUNTS, coco_metrics
from transfer_core.metrics.detection import baseline_detections, detection_metrics

pycocotools = pytest.importorskip("pycocotools.cocoeval")


def reference(detections, truth, classes):
    """pycocotools' evaluation."""
    from pycocotools.coco import COCO

    annotations = [
        {
            "image_id": image,
            "category_id": kind + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": area,
            "iscrowd": int(crowd),
        }
        for image, boxes in enumerate(truth, start=1)
        for (x1, y1, x2, y2), kind, crowd, area in zip(
            *(column.tolist() for column in (boxes.corners, boxes.classes, boxes.crowd, boxes.areas)),
            strict=True,
        )
    ]
    known = COCO()
    known.dataset = {
        "images": [{"id": number} for number in range(1, len(truth) + 1)],
        "annotations": [{**one, "id": number} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": number} for number in range(1, classes + 1)],
    }
    results = [
        {"image_id": image, "category_id": kind + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for image, found in enumerate(detections, start=1)
        for (x1, y1, x2, y2), kind, score in zip(
            *(column.tolist() for column in (found.corners, found.classes, found.scores)), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = pycocotools.COCOeval(known, known.loadRes(results) if results else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def random_set(seed, images=20, classes=3, objects=6, found=30, ties=False, grid=False, crowds=0.1):
    """Truth, and detections near it; with `grid`, coordinates coincide and overlaps are exactly 0.5."""
    rng = np.random.default_rng(seed)
    detections, truth = [], []
    for _ in range(images):
        count = rng.integers(0, objects + 1)
        at, sides = rng.uniform(0, 500, (count, 2)), rng.uniform(1, 200, (count, 2))
        if grid:
            at, sides = np.round(at / 50) * 50, np.round(sides / 40) * 40 + 40
        corners = np.hstack([at, at + sides])
        kinds = rng.integers(0, classes, count)
        areas = sides.prod(axis=1) * rng.uniform(0.4, 1, count)
        truth.append(boxes_of(corners, kinds, rng.random(count) < crowds, areas))
        near = rng.integers(0, count, rng.integers(0, found + 1)) if count else np.zeros(0, int)
        shifted = corners[near] + (
            rng.integers(-2, 3, (len(near), 4)) * 20 if grid else rng.normal(0, 9, (len(near), 4))
        )
        shifted[:, 2:] = np.maximum(shifted[:, 2:], shifted[:, :2] + 1)
        wrong = rng.integers(0, classes, len(near))
        scores = rng.random(len(near))
        own = np.where(rng.random(len(near)) < 0.8, kinds[near], wrong)
        detections.append(detections_of(shifted, own, np.round(scores * 4) / 4 if ties else scores))
    return detections, truth


def check(detections, truth, classes):
    mine, theirs = coco_metrics(detections, truth, classes), reference(detections, truth, classes)
    for place, area in enumerate(("all", "small", "medium", "large")):
        own = np.where(np.isnan(mine.precision[area]), -1, mine.precision[area])
        np.testing.assert_allclose(
            own.transpose(0, 2, 1), theirs.eval["precision"][:, :, :, place, 2], atol=1e-9
        )
    for place, count in enumerate(COUNTS):
        own = np.where(np.isnan(mine.recall[count]), -1, mine.recall[count])
        np.testing.assert_allclose(own, theirs.eval["recall"][:, :, 0, place], atol=1e-9)
    found = [
        mine.mean_precision(),
        mine.mean_precision(threshold=0),
        mine.mean_precision(threshold=5),
        *(mine.mean_precision(area) for area in ("small", "medium", "large")),
        *(mine.mean_recall(count) for count in COUNTS),
    ]
    np.testing.assert_allclose([-1 if one is None else one for one in found], theirs.stats[:9], atol=1e-9)
    return mine


@pytest.mark.parametrize("seed", range(6))
def test_random_sets(seed):
    mine = check(*random_set(seed), 3)
    assert 0 < mine.mean_precision() < 1


@pytest.mark.parametrize("seed", range(6))
def test_equal_scores_and_exact_overlaps(seed):
    check(*random_set(seed, ties=True, grid=True), 3)


def test_more_detections_than_count():
    check(*random_set(1, images=4, classes=1, objects=3, found=300, ties=True, grid=True), 1)


def test_only_crowds():
    check(*random_set(2, crowds=1.0), 3)


def test_classes_without_truth():
    check(*random_set(3, images=5, classes=40, objects=2), 40)


def test_no_detections():
    _, truth = random_set(4)
    none = [detections_of([], [], []) for _ in truth]
    found = coco_metrics(none, truth, 3)
    assert (found.mean_precision(), found.mean_recall(100)) == (0.0, 0.0)


def test_no_truth():
    detections, truth = random_set(5)
    empty = [boxes_of([], []) for _ in truth]
    found = detection_metrics(detections, empty, "abc", [0.5] * 3, np.ones((3, 4)), [1, 1, 1], 0)
    assert (found["average_precision"], found["average_recall_100"], found["intervals"]) == (None, None, {})
    assert found["per_class"][0]["curve"] == []


def test_the_truth_itself_is_perfect():
    _, truth = random_set(6, crowds=0)
    same = [detections_of(boxes.corners, boxes.classes, np.full(len(boxes), 0.9)) for boxes in truth]
    found = detection_metrics(same, truth, "abc", [0.5] * 3, np.ones((3, 4)), [1, 1, 1], 0)
    assert [
        found[name] for name in ("average_precision", "average_recall_100", "precision", "recall", "f1")
    ] == [1.0] * 5
    assert found["worst"] == []
    assert found["intervals"]["average_precision"] == [1.0, 1.0]


def test_worst_images_precision_and_recall():
    truth = [boxes_of([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 1]), boxes_of([[0, 0, 10, 10]], [0])]
    found = [
        detections_of([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 40, 40]], [0, 1, 1], [0.9, 0.8, 0.1]),
        detections_of([[0, 0, 10, 9]], [0], [0.7]),
    ]
    metrics = detection_metrics(
        found, truth, ["a", "b"], [0.5, 0.5], np.ones((2, 4)), [1, 1], 0, ["x.jpg", "y.jpg"]
    )
    assert metrics["worst"] == [{"image": "x.jpg", "missed": 1, "wrong": 1}]
    assert (metrics["precision"], metrics["recall"]) == (2 / 3, 2 / 3)
    assert [row["support"] for row in metrics["per_class"]] == [2, 1]
    assert metrics["per_class"][0]["curve"][-1] == [1.0, 1.0]


def test_intervals_contain_the_metric():
    detections, truth = random_set(7, images=60)
    metrics = detection_metrics(detections, truth, "abc", [0.5] * 3, np.ones((3, 4)), [1, 1, 1], 0)
    for name in ("average_precision", "average_precision_50"):
        low, high = metrics["intervals"][name]
        assert low < metrics[name] < high


def test_the_baseline_predicts_typical_boxes():
    truth = [boxes_of([[25, 40, 75, 60]], [1], size=(100, 100)), boxes_of([], [], size=(200, 100))]
    typical = np.array([[0.5, 0.5, 1, 1], [0.5, 0.5, 0.5, 0.2]])
    first, second = baseline_detections(truth, typical, np.array([0.25, 0.75]))
    assert first.corners.tolist() == [[25, 40, 75, 60], [0, 0, 100, 100]]
    assert (first.classes.tolist(), second.corners.tolist()[0]) == ([1, 0], [50, 40, 150, 60])


def test_lengths_differ():
    with pytest.raises(ValueError, match="one detection result per image is needed, got 0 for 1"):
        detection_metrics([], [boxes_of([], [])], "a", [0.5], np.ones((1, 4)), [1], 0)
