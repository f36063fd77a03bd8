"""Object detection from photos to a saved model, with a small network and real ones."""

import json
import signal
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import transfer_core
from test_resume import Process, at, event, same
from tiny_backbone import tiny_backbone
from transfer_core.pipeline import five_steps
from transfer_core.runtime.errors import Cancelled, DataError, RecipeError

pytestmark = pytest.mark.slow

COLOURS = {"brick": (220, 40, 40), "sky": (40, 60, 230)}
FAST = {"image_size": 96, "head": {"type": "fcos", "channels": 32, "layers": 1}, "batch_size": 4}


def draw_photos(folder, count=24, seed=0):
    """Rows of photos with up to two coloured squares each; every eighth has none."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        width, height = [(96, 64), (64, 96), (80, 80)][number % 3]
        image = Image.fromarray(rng.integers(60, 140, (height, width, 3), np.uint8))
        boxes = []
        for left in (0, width // 2)[: 0 if number % 8 == 7 else 1 + number % 2]:
            side = int(rng.integers(20, 31))
            x, y = left + int(rng.integers(width // 2 - side + 1)), int(rng.integers(height - side + 1))
            label = list(COLOURS)[int(rng.integers(2))]
            ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), COLOURS[label])
            boxes.append({"label": label, "x": x, "y": y, "width": side, "height": side})
        path = folder / f"{number}.png"
        image.save(path)
        rows.append({"input": str(path), "boxes": boxes})
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def tiny(monkeypatch):
    """A network of three small blocks in place of every backbone."""
    network = tiny_backbone()
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: network)
    monkeypatch.setattr(five_steps, "describe", lambda *_: network.facts)


def train(rows, **words):
    return transfer_core.train(backbone="mobilenet_v2", data=rows, task="detection", **{**FAST, **words})


@pytest.fixture(scope="module")
def trained(rows, tmp_path_factory):
    """A model on MobileNetV2 with random weights for the speed, saved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TRANSFER_OFFLINE", "1")
        model = train(rows, epochs=12, learning_rate=3e-3)
        return model.save(tmp_path_factory.mktemp("model") / "squares.transfer"), model


def test_squares_are_found(trained, rows):
    _, model = trained
    assert model.metrics["average_precision_50"] > 2 * model.metrics["baseline"]["average_precision_50"]
    assert model.metrics["average_precision_50"] > 0.5
    photo = rows[0]
    best = max(model.predict(photo["input"])["boxes"], key=lambda box: box["score"])
    [box] = photo["boxes"]
    assert best["label"] == box["label"]
    assert abs(best["x"] - box["x"]) + abs(best["y"] - box["y"]) < 16


@pytest.mark.parametrize("method", ["auto", "occlusion"])
def test_each_box_has_a_heatmap_that_points_at_its_square(trained, rows, method):
    _, model = trained
    hits = []
    for row in rows[:4]:
        predicted = model.predict(row["input"])["boxes"]
        found = model.explain(row["input"], method=method)
        assert found.method == {"auto": "hirescam", "occlusion": "occlusion"}[method]
        assert [box.label for box in found.boxes] == [box["label"] for box in predicted]
        for box, wanted in zip(found.boxes, predicted, strict=True):
            sides = ("x", "y", "width", "height")
            assert box.box == pytest.approx({side: wanted[side] for side in sides}, abs=1e-3)
            assert box.heatmap.shape == found.image.shape[:2]
            place = np.unravel_index(box.heatmap.argmax(), box.heatmap.shape)
            y, x = np.array(place) * max(Image.open(row["input"]).size) / 96
            inside_x = wanted["x"] - 8 <= x <= wanted["x"] + wanted["width"] + 8
            hits.append(inside_x and wanted["y"] - 8 <= y <= wanted["y"] + wanted["height"] + 8)
    assert len(hits) >= 2
    assert np.mean(hits) >= 0.5  # a box covers about a sixth of a photo
    label = predicted[0]["label"] if predicted else "sky"
    own = model.explain(rows[0]["input"], label=label, method=method)
    assert {box.label for box in own.boxes} <= {label}
    assert own.overlay.startswith(b"\x89PNG")


def test_score_of_a_box_is_the_logit_of_the_network(trained, rows):
    _, model = trained
    found = model.explain(rows[0]["input"])
    other = model.explain(rows[0]["input"], against=next(n for n in COLOURS if n != found.boxes[0].label))
    state = model.state
    for box, wanted in zip(found.boxes, model.predict(rows[0]["input"])["boxes"], strict=True):
        calibrated = 1 / (1 + np.exp(-(state.slope * box.score + state.offset)))
        assert calibrated == pytest.approx(wanted["score"], abs=1e-4)
    assert other.boxes[0].score > found.boxes[0].score  # the other class has a negative logit
    with pytest.raises(RecipeError, match='unknown method "rise"'):
        model.explain(rows[0]["input"], method="rise")


def test_a_saved_model_predicts_the_same(trained, rows):
    path, model = trained
    loaded = transfer_core.load(path)
    inputs = [row["input"] for row in rows[:5]]
    assert loaded.labels == ("brick", "sky")
    one = [loaded.predict(input) for input in inputs]
    # Another engine may be chosen there: numbers are equal up to rounding.
    for found in (one, loaded.predict(inputs)):
        for ours, expected in zip(found, model.predict(inputs), strict=True):
            assert [box["label"] for box in ours["boxes"]] == [box["label"] for box in expected["boxes"]]
            for side in ("x", "y", "width", "height", "score"):
                numbers = [[box[side] for box in each["boxes"]] for each in (ours, expected)]
                np.testing.assert_allclose(*numbers, atol=0.1)


def test_metrics_on_other_photos_are_those_of_pycocotools(trained, tmp_path):
    _, model = trained
    rows = draw_photos(tmp_path, count=12, seed=5)
    metrics = model.evaluate(rows)
    images = [{"id": n, "width": 1, "height": 1} for n in range(len(rows))]
    truth, found = [], []
    for number, row in enumerate(rows):
        for box in row["boxes"]:
            area = box["width"] * box["height"]
            extent = [box[side] for side in ("x", "y", "width", "height")]
            truth.append({"image_id": number, "category_id": box["label"], "bbox": extent, "area": area})
        for box in model.predict(row["input"], min_score=0)["boxes"]:
            extent = [box[side] for side in ("x", "y", "width", "height")]
            found.append(
                {"image_id": number, "bbox": extent, "score": box["score"], "category_id": box["label"]}
            )
    numbers = {label: number + 1 for number, label in enumerate(model.labels)}
    for number, annotation in enumerate(truth):
        annotation |= {"id": number + 1, "iscrowd": 0, "category_id": numbers[annotation["category_id"]]}
    for detection in found:
        detection["category_id"] = numbers[detection["category_id"]]
    coco = COCO()
    categories = [{"id": number, "name": label} for label, number in numbers.items()]
    coco.dataset = {"images": images, "annotations": truth, "categories": categories}
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert metrics["average_precision"] == pytest.approx(evaluation.stats[0], abs=1e-6)
    assert metrics["average_precision_50"] == pytest.approx(evaluation.stats[1], abs=1e-6)


def test_the_least_score_replaces_the_thresholds(trained, rows):
    _, model = trained
    inputs = [row["input"] for row in rows[:6]]
    every = [box["score"] for one in model.predict(inputs, min_score=0) for box in one["boxes"]]
    some = [box["score"] for one in model.predict(inputs, min_score=0.4) for box in one["boxes"]]
    assert sorted(some) == sorted(score for score in every if score >= 0.4)
    assert 0 < len(some) < len(every)
    with pytest.raises(RecipeError, match="min_score: expected a number from 0 to 1, got 2"):
        model.predict(inputs, min_score=2)


def test_threads_predict_the_same(trained, rows):
    path, _ = trained
    model = transfer_core.load(path)
    model.prepare()
    inputs = [row["input"] for row in rows]
    expected = model.predict(inputs)
    found = {}

    def predict(number):
        found[number] = [model.predict(input) for input in inputs[number::8]]

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, predictions in found.items():
        for alone, together in zip(predictions, expected[number::8], strict=True):
            assert len(alone["boxes"]) == len(together["boxes"])


@pytest.mark.parametrize("head", ["retinanet", "ssd", "faster_rcnn"])
def test_every_head_trains(head, rows, tiny):
    spec = {"type": head, "channels": 32, **({"hidden": 16} if head == "faster_rcnn" else {})}
    model = train(rows, head=spec, epochs=4, learning_rate=3e-3)
    losses = [entry["loss"] for entry in model.history]
    assert losses[-1] < losses[0]
    assert model.recipe.head.__struct_config__.tag == head


def test_the_backbone_is_frozen_at_first(rows, tiny):
    before = {name: t.clone() for name, t in tiny_backbone().state_dict().items()}
    model = train(rows, epochs=1)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not model.header.backbone.fine_tuned


def test_last_blocks_are_fine_tuned(rows, tiny):
    steps = [{"type": "train", "epochs": 2}, {"type": "unfreeze", "last": 2}, {"type": "train", "epochs": 6}]
    before = {name: t.clone() for name, t in tiny_backbone().state_dict().items()}
    model = train(rows, steps=[{"type": "freeze"}, *steps], batch_size=None)
    changed = {
        name.split(".")[1]
        for name, t in model.backbone.state_dict().items()
        if not torch.equal(t, before[name])
    }
    assert changed <= {"middle", "last"}
    assert model.header.backbone.fine_tuned == bool(changed)
    assert [entry["step"] for entry in model.history] == ["train"] * 2 + ["fine_tune"] * 6


def test_a_second_training_computes_no_maps(rows, tiny, monkeypatch):
    from transfer_core.features.frozen_maps import FrozenMaps

    train(rows, epochs=1)
    monkeypatch.setattr(FrozenMaps, "rows", lambda *_: pytest.fail("maps are computed again"))
    train(rows, epochs=1)


def test_training_photos_are_decoded_once(rows, tiny, monkeypatch, tmp_path):
    from transfer_core.data import decode

    decoded, original = Counter(), decode._decode

    def count(content, path, *sizes):
        decoded[path] += 1
        return original(content, path, *sizes)

    monkeypatch.setattr(decode, "_decode", count)
    fresh = draw_photos(tmp_path, seed=9)
    model = train(fresh, epochs=1, augment=["flip", {"type": "crop", "min_scale": 0.5}])
    assert sum(times == 1 for times in decoded.values()) == model.header.sizes["train"]
    # Validation and test images are decoded again to measure the model, and for pictures of the report.
    assert max(decoded.values()) <= 4
    decoded.clear()
    train(fresh, epochs=1, augment=["flip", {"type": "crop", "min_scale": 0.5}])
    assert len(decoded) == model.header.sizes["valid"] + model.header.sizes["test"]


def test_without_disk_the_result_is_the_same(rows, tiny, monkeypatch):
    from transfer_core.features import map_rows

    model = train(rows, epochs=2)
    monkeypatch.setattr(map_rows, "DISK_SHARE", 0)
    again = train(rows, epochs=2)
    for name, tensor in again.head.state_dict().items():
        assert torch.equal(tensor, model.head.state_dict()[name]), name


def test_unreadable_photos_are_left_out(rows, tiny, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(rows[0]["input"]).read_bytes()[:300])
    with_broken = [*rows, {"input": str(broken), "boxes": []}]
    with pytest.raises(DataError, match=r"truncated|damaged"):
        train(with_broken, epochs=1)
    model = train(with_broken, epochs=1, on_bad_input="skip")
    assert sum(model.header.sizes.values()) == len(rows)


def test_cancellation(rows, tiny):
    epochs = []

    def listen(event):
        if event["event"] == "epoch":
            epochs.append(event["number"])

    with pytest.raises(Cancelled):
        train(rows, epochs=50, on_event=listen, cancelled=lambda: bool(epochs))
    assert epochs == [1]


def test_progress_ends(rows, tiny):
    shares = []
    train(rows, epochs=2, on_event=lambda e: shares.append(e["share"]) if e["event"] == "overall" else None)
    assert all(before <= after for before, after in pairwise(shares))
    assert shares[-1] > 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"head": "mlp"}, "detection has no head mlp"),
        ({"backbone": "vit_b_16"}, "vit_b_16 gives .*, but detection needs feature_maps. Try: mobilenet_v2"),
        ({"image_size": 100}, "image_size"),
        ({"augment": ["rotate"]}, "boxes do not follow rotate. Try: flip"),
        ({"class_weights": "balanced"}, "detection has no class weights"),
        ({"optimizer": "lbfgs"}, "L-BFGS"),
        ({"steps": [{"type": "lora"}, {"type": "train"}]}, "adapters are not available for detection"),
    ],
)
def test_mistakes(words, message, rows):
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(**{"backbone": "mobilenet_v2", "data": rows, "task": "detection", **words})


def test_words_of_detection_elsewhere(tmp_path):
    with pytest.raises(RecipeError, match=r"image_size.*leave it out"):
        transfer_core.train(backbone="mobilenet_v2", data=str(tmp_path), image_size=320)
    with pytest.raises(RecipeError, match="mosaic is for detection"):
        transfer_core.train(backbone="mobilenet_v2", data=str(tmp_path), augment=["mosaic"])


STEPS = [
    {"type": "freeze"},
    {"type": "train", "epochs": 3},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 3},
]
DEATHS = [
    (at("progress", "freeze"), 0),
    (at("epoch", "train", 2), 2),
    (at("stage", "fine_tune"), 3),
    ({"events": [event("epoch", "fine_tune", 2)]}, 5),
    (at("stage", "evaluate"), 6),
]


@pytest.fixture(scope="module")
def process():
    process = Process()
    yield process
    process.end()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listed")
    lines = ["path,label,x,y,width,height"]
    for row in draw_photos(folder):
        boxes = row["boxes"] or [dict.fromkeys(("label", "x", "y", "width", "height"), "")]
        lines += [",".join(map(str, [row["input"], *box.values()])) for box in boxes]
    table = folder / "squares.csv"
    table.write_text("\n".join(lines))
    words = {"data": str(table), "backbone": "mobilenet_v2", "task": "detection", "steps": STEPS}
    return {**words, "image_size": 96, "head": FAST["head"], "augment": ["flip", "mosaic"]}


@pytest.fixture(scope="module")
def uninterrupted(process, words, tmp_path_factory):
    home = tmp_path_factory.mktemp("uninterrupted")
    status, result = process(home, tiny=True, words=words)
    assert status == 0
    return home, result["model"]


@pytest.mark.parametrize(("death", "epochs"), DEATHS, ids=[json.dumps(when)[:60] for when, _ in DEATHS])
def test_killed_and_resumed(death, epochs, process, words, uninterrupted, home):
    (home / "cache").mkdir(parents=True)
    measured = uninterrupted[0] / "cache/measurements.json"
    (home / "cache/measurements.json").write_bytes(measured.read_bytes())
    assert process(home, tiny=True, words=words, die=death) == (-signal.SIGKILL, None)
    [run] = (home / "runs").iterdir()
    status, result = process(home, tiny=True, run=run.name)
    assert status == 0
    assert len(result["run"]["history"]) == epochs
    assert same(result["model"], uninterrupted[1])


def test_tiles_of_a_large_photo(trained, tmp_path):
    _, model = trained
    rng = np.random.default_rng(3)
    photo = Image.fromarray(rng.integers(60, 140, (384, 384, 3), np.uint8))
    corners = [(20, 30), (210, 60), (120, 300), (330, 330)]
    for x, y in corners:
        ImageDraw.Draw(photo).rectangle((x, y, x + 24, y + 24), COLOURS["brick"])
    path = tmp_path / "large.png"
    photo.save(path)

    def found(prediction):
        boxes = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in prediction["boxes"]]
        return [any(abs(a - x - 12) < 10 and abs(b - y - 12) < 10 for a, b in boxes) for x, y in corners]

    tiled = model.predict(str(path), tile=True)
    assert (tiled["width"], tiled["height"]) == (384, 384)
    # Squares of 6 pixels on the input are not what the model was trained on.
    assert sum(found(tiled)) > sum(found(model.predict(str(path))))
    marked = model.predict([str(path), str(tmp_path / "gone.png")], tile=True, on_bad_input="mark")
    assert [sorted(one) for one in marked] == [["boxes", "height", "width"], ["error", "path"]]
    transfer_core.draw(str(path), tiled, str(tmp_path / "drawn.png"))
    assert (np.asarray(Image.open(tmp_path / "drawn.png")) != np.asarray(photo)).any()


def test_worst_images_are_named_below_their_folder(trained):
    _, model = trained
    names = [row["image"] for row in model.metrics["worst"]]
    assert all("/" not in name for name in names)
