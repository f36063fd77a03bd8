"""A trained model in use: in this process and in another, on all kinds of inputs, and on other data."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, r2_score

import transfer_core
from photos import COLORS, class_folder, pixels, png, rows, save
from transfer_core.metrics import fit_temperature
from transfer_core.model.loading import save_new
from transfer_core.runtime.errors import (
    ConfigurationError,
    DataError,
    ModelFileError,
    RecipeError,
    TransferWarning,
)

pytestmark = pytest.mark.slow

SUMMARY = {
    *("path", "task", "labels", "backbone", "embedding_width", "metrics", "history", "recipe", "sizes"),
    *(
        "warnings",
        "created_at",
        "versions",
        "bytes",
        "modality",
        "columns",
        "data",
        "instance_weights",
        "seconds",
    ),
}


@pytest.fixture(scope="module")
def home_of_models(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(home))
        patch.setenv("TRANSFER_OFFLINE", "1")
        yield home


@pytest.fixture(autouse=True)
def home(home_of_models):
    """Of all tests: where networks are timed anew, another precision may be found the faster one."""
    return home_of_models


@pytest.fixture(scope="module")
def model(home_of_models, tmp_path_factory):
    """Three classes."""
    photos = class_folder(tmp_path_factory.mktemp("photos"))
    return transfer_core.train(backbone="mobilenet_v2", data=photos)


@pytest.fixture(scope="module")
def grey(home_of_models):
    """A regression: how grey a photo is."""
    greys = np.linspace(30, 220, 16)
    labelled = [
        {"input": png(pixels((grey, grey, grey), seed=i)), "label": float(grey)}
        for i, grey in enumerate(greys)
    ]
    return transfer_core.train(backbone="mobilenet_v2", data=labelled, task="regression")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Photos that are hard to tell apart: their colour is between two classes'."""
    root = tmp_path_factory.mktemp("mixed")
    names, colors = list(COLORS), [np.array(color) for color in COLORS.values()]
    for i in range(18):
        label = i % 3
        color = 0.55 * colors[label] + 0.45 * colors[(label + 1 + i // 9) % 3]
        save(root / names[label] / f"{i}.png", pixels(color, seed=500 + i, noise=60))
    return root


def sky(seed=1):
    return png(pixels(COLORS["sky"], seed=9000 + seed))


def close(first, second):
    assert first.keys() == second.keys()
    assert first["label"] == second["label"]
    assert first["scores"] == pytest.approx(second["scores"], abs=1e-5)
    return True


def test_a_prediction(model):
    prediction = model.predict(sky())
    assert list(prediction) == ["label", "score", "scores", "novelty", "unknown"]
    assert prediction["label"] == "sky"
    assert set(prediction["scores"]) == set(COLORS)
    assert prediction["score"] == prediction["scores"]["sky"] == max(prediction["scores"].values())
    assert sum(prediction["scores"].values()) == pytest.approx(1)
    assert list(prediction["scores"].values()) == sorted(prediction["scores"].values(), reverse=True)


def test_all_kinds_of_inputs(model, tmp_path):
    path = tmp_path / "sky.png"
    path.write_bytes(sky())
    one = model.predict(str(path))
    kinds = [str(path), path, sky(), bytearray(sky()), memoryview(sky())]
    assert [model.predict(kind) for kind in kinds] == [one] * 5
    together = model.predict(kinds)
    assert all(close(prediction, one) for prediction in together)
    assert model.predict(tuple(kinds)) == together
    assert model.predict([]) == []
    assert model.embed([]).shape == (0, 1280)


def test_one_by_one_and_all_at_once(model, mixed):
    paths = sorted(mixed.rglob("*.png"))
    together = model.predict(paths)
    assert len(together) == 18
    assert all(
        close(model.predict(path), prediction) for path, prediction in zip(paths, together, strict=True)
    )
    backwards = model.predict(paths[::-1])
    assert all(close(a, b) for a, b in zip(backwards[::-1], together, strict=True))


def test_embeddings(model, mobilenet):
    found = model.embed([sky(1), sky(2)])
    assert (found.shape, found.dtype) == ((2, 1280), np.float32)
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(model.embed(sky(1)), model.embed([sky(1)])[0])
    from transfer_core.features import load_pixels
    from transfer_core.features.image_tensors import normalize, to_batch

    batch = to_batch([load_pixels(sky(i), mobilenet.preprocessing) for i in (1, 2)])
    with torch.no_grad():
        expected = mobilenet(normalize(batch, mobilenet.preprocessing, torch.float32))
    assert torch.nn.functional.cosine_similarity(torch.from_numpy(found), expected).min() >= 0.999


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (b"", "the image: the file is empty"),
        ([sky(), sky()[:300]], "image 2 of 2: the file is truncated"),
        ("nowhere.jpg", "nowhere.jpg: no such file"),
        ("", "the image: its path is empty"),
        (None, "the image: expected a path or the bytes of an image, not NoneType"),
        ({"a": 1}, "the image: expected a path or the bytes of an image, not dict"),
        (Image.new("RGB", (8, 8)), "the image: expected a path or the bytes of an image, not Image"),
        ([sky(), Path("nowhere.jpg")], "nowhere.jpg: no such file"),
        ([5], "the image: expected a path or the bytes of an image, not int"),
        ([sky(), None], "image 2 of 2: expected a path or the bytes of an image, not NoneType"),
    ],
)
def test_what_can_not_be_predicted_is_named(model, inputs, message):
    with pytest.raises(DataError) as error:
        model.predict(inputs)
    assert str(error.value) == message
    with pytest.raises(DataError) as error:
        model.embed(inputs)
    assert str(error.value) == message


FRESH = """
import json, sys, torch, transfer_core
torch.set_num_threads(1)
model = transfer_core.load(sys.argv[1])
print(json.dumps([model.predict(sys.argv[2:]), model.predict(sys.argv[2]), model.summary()]))
"""


def test_a_fresh_process_says_the_same(model, mixed):
    paths = [str(path) for path in sorted(mixed.rglob("*.png"))]
    command = [sys.executable, "-c", FRESH, str(model.path), *paths]
    environment = {**os.environ, "PYTHONPATH": "python"}
    output = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=True).stdout
    theirs, single, summary = json.loads(output)
    assert all(close(a, b) for a, b in zip(theirs, model.predict(paths), strict=True))
    assert close(single, theirs[0])
    assert summary == model.summary()


def test_evaluate_is_what_scikit_learn_says_of_the_predictions(model, mixed):
    paths = sorted(mixed.rglob("*.png"))
    truth = [path.parent.name for path in paths]
    predictions = model.predict(paths)
    said = [prediction["label"] for prediction in predictions]
    scores = np.array([[p["scores"][label] for label in model.labels] for p in predictions])
    found = model.evaluate(mixed)
    assert found == model.evaluate(str(mixed))
    assert 0 < found["accuracy"] < 1
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(truth, scores, labels=list(model.labels)), abs=1e-4)
    assert found["confusion_matrix"] == confusion_matrix(truth, said, labels=model.labels).tolist()


def test_evaluate_a_regression(grey):
    greys = np.linspace(40, 200, 9)
    photos = [png(pixels((grey, grey, grey), seed=700 + i)) for i, grey in enumerate(greys)]
    values = [prediction["value"] for prediction in grey.predict(photos)]
    labelled = [{"input": photo, "label": value} for photo, value in zip(photos, greys, strict=True)]
    found = grey.evaluate(labelled)
    assert found["r2"] == pytest.approx(r2_score(greys, values), abs=1e-4)
    assert found["r2"] > 0.5


def test_large_values_that_lie_close_together():
    times = [1_700_000_000 + 0.5 * i for i in range(24)]
    data = [{"input": sky(i), "label": time} for i, time in enumerate(times)]
    model = transfer_core.train(backbone="mobilenet_v2", data=data, task="regression")
    said = [one["value"] for one in model.predict([row["input"] for row in data])]
    assert model.evaluate(data)["mae"] == pytest.approx(np.abs(np.subtract(said, times)).mean(), abs=1e-4)


def test_evaluate_takes_what_train_takes(model, mixed):
    folder = model.evaluate(mixed)
    labelled = [{"input": path, "label": path.parent.name} for path in sorted(mixed.rglob("*.png"))]
    of_rows = model.evaluate(iter(labelled))
    of_stream = model.evaluate({"stream": "s1"}, streams={"s1": labelled})
    assert of_rows["accuracy"] == of_stream["accuracy"] == folder["accuracy"]
    assert of_rows["log_loss"] == pytest.approx(folder["log_loss"])


def test_evaluate_on_labels_that_the_model_does_not_know(model, tmp_path):
    save(tmp_path / "cloud" / "1.png", pixels((200, 200, 200), seed=1))
    save(tmp_path / "sky" / "1.png", pixels((100, 100, 200), seed=2))
    with pytest.raises(DataError, match="cloud"):
        model.evaluate(tmp_path)


def test_evaluate_on_some_of_the_labels(model):
    some = [row for row in rows(per_class=2) if row["label"] != "leaf"]
    mislabelled = {**some[0], "label": some[-1]["label"]}
    found = model.evaluate([mislabelled, *some[1:]])
    assert found["accuracy"] == 0.75
    assert found["examples"] == 4


def test_evaluate_with_a_broken_photo(model, tmp_path):
    root = Path(class_folder(tmp_path / "photos", per_class=3, first_seed=300))
    broken = root / "sky" / "1.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(DataError, match=r"sky/1\.png: the file is truncated"):
        model.evaluate(root)
    assert model.evaluate(root, on_bad_input="skip")["examples"] == 8


def test_evaluate_on_broken_photos_only(model, tmp_path):
    (tmp_path / "sky").mkdir()
    (tmp_path / "sky" / "1.png").write_bytes(sky()[:500])
    with pytest.raises(DataError, match="none of the images to measure on can be read"):
        model.evaluate(tmp_path, on_bad_input="skip")


@pytest.mark.parametrize(
    "words",
    [
        {"data": 5},
        {"data": "photos", "on_bad_input": "ignore"},
        {"data": "photos", "columns": 5},
        {"data": "photos", "columns": ["a"]},
    ],
)
def test_evaluate_with_wrong_words(model, words):
    with pytest.raises(RecipeError):
        model.evaluate(**words)


def test_events_of_an_evaluation(model, mixed):
    told = []
    model.evaluate(mixed, progress=transfer_core.runtime.progress.Progress(told.append))
    assert [event["title"] for event in told if event["event"] == "stage"] == ["measure on 18 images"]


def test_save_with_everything(model, tmp_path, mixed):
    path = model.save(tmp_path / "model.transfer")
    assert path.read_bytes() == model.path.read_bytes()
    loaded = transfer_core.load(path)
    assert loaded.header == model.header
    paths = sorted(mixed.rglob("*.png"))
    assert loaded.predict(paths) == model.predict(paths)


def test_a_path_in_the_users_home(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model.save("~/kept.transfer") == tmp_path / "kept.transfer"
    assert transfer_core.load("~/kept.transfer").path == tmp_path / "kept.transfer"


def test_save_without_the_backbone(model, tmp_path, mixed):
    path = model.save(str(tmp_path / "small.transfer"), backbone=False)
    assert path.stat().st_size < model.path.stat().st_size / 50
    loaded = transfer_core.load(path)
    paths = sorted(mixed.rglob("*.png"))
    assert loaded.predict(paths) == model.predict(paths)
    again = loaded.save(tmp_path / "again.transfer")
    assert again.read_bytes() == path.read_bytes()


def test_without_the_backbone_weights_of_ones_own_are_found_again_by_their_path(
    mobilenet, tmp_path, monkeypatch
):
    own, elsewhere = tmp_path / "own.safetensors", tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = mobilenet.state_dict()
    save_file(state, own)
    monkeypatch.chdir(tmp_path)
    photos = class_folder(tmp_path / "photos", per_class=4)
    model = transfer_core.train(backbone="mobilenet_v2", data=photos, weights=own.name)
    small = model.save(tmp_path / "small.transfer", backbone=False)
    monkeypatch.chdir(elsewhere)
    close(transfer_core.load(small).predict(sky()), model.predict(sky()))

    state["blocks.features_18.1.bias"] = state["blocks.features_18.1.bias"] + 1
    save_file(state, own)
    with pytest.raises(ModelFileError) as raised:
        transfer_core.load(small)
    assert str(raised.value) == (
        f"the weights {own} of mobilenet_v2 are not those that this model was trained with; "
        "bring these back, or use a copy of the model that has its backbone"
    )


@pytest.mark.parametrize("place", ["", "nowhere/model.transfer"])
def test_save_to_a_bad_place(model, tmp_path, place):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=r"^can't save to "):
        model.save(tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before


def test_save_over_itself(model, tmp_path):
    mine = transfer_core.load(model.save(tmp_path / "model.transfer"))
    mine.save(mine.path)
    assert mine.path.read_bytes() == model.path.read_bytes()


def test_a_model_whose_file_is_gone(model, tmp_path):
    """It can be saved: all of it is in memory."""
    gone = replace(model, path=tmp_path / "gone.transfer")
    with pytest.raises(ModelFileError) as error:
        gone.summary()
    assert str(error.value) == f"there is no file {gone.path}"
    assert gone.save(tmp_path / "other.transfer").read_bytes() == model.path.read_bytes()


def test_a_model_whose_file_was_exchanged_is_saved_as_it_was_loaded(model, grey, tmp_path):
    live = transfer_core.load(model.save(tmp_path / "live.transfer"))
    grey.save(live.path)
    assert live.save(tmp_path / "backup.transfer").read_bytes() == model.path.read_bytes()
    small = live.save(tmp_path / "small.transfer", backbone=False)
    assert transfer_core.load(small).labels == model.labels


def test_load_what_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="there is no file"):
        transfer_core.load(tmp_path / "nothing.transfer")
    (tmp_path / "photo.transfer").write_bytes(sky())
    with pytest.raises(ModelFileError, match="is not a saved model"):
        transfer_core.load(tmp_path / "photo.transfer")


def test_a_recipe_without_a_device_takes_what_is_there(model, tmp_path):
    recipe = {word: value for word, value in model.header.recipe.items() if word != "device"}
    header = msgspec.structs.replace(model.header, recipe=recipe)
    loaded = save_new(tmp_path / "plain.transfer", header, model.backbone, model.head, model.novelty)
    assert loaded.predictor.extractor.device.type in ("cpu", "cuda", "mps")


def test_summary(model, grey):
    for one in (model, grey):
        summary = one.summary()
        assert set(summary) == SUMMARY
        assert msgpack.unpackb(msgpack.packb(summary, strict_types=True)) == summary
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary
        assert summary["bytes"] == one.path.stat().st_size
        assert summary["path"] == str(one.path)
        assert transfer_core.load(one.path).summary() == summary
    assert grey.summary()["task"] == "regression"
    assert list(grey.predict(sky())) == ["value", "novelty", "unknown"]


@pytest.mark.parametrize(
    ("device", "precision"), [("cuda", "auto"), ("cuda:5", "float16"), ("mps", "float16")]
)
def test_a_model_from_a_machine_with_a_gpu(model, tmp_path, device, precision):
    recipe = {**model.header.recipe, "device": device, "precision": precision}
    header = msgspec.structs.replace(model.header, recipe=recipe)
    save_new(tmp_path / "gpu.transfer", header, model.backbone, model.head, model.novelty)
    loaded = transfer_core.load(tmp_path / "gpu.transfer")
    assert loaded.predict(sky()) == model.predict(sky())
    assert loaded.evaluate(rows(per_class=2)) == model.evaluate(rows(per_class=2))


def test_scores_are_calibrated(model):
    """Overconfident logits, as after too long a training: the temperature of one half mends the other."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 2000)
    logits = rng.normal(0, 1, (2000, 3)) + 1.2 * np.eye(3)[truth]
    sure = 6 * logits
    temperature = fit_temperature(sure[:1000], truth[:1000])
    states = [msgspec.structs.replace(model.state, temperature=t) for t in (1.0, temperature)]
    before, after = (
        model.task.metrics(model.task.decode(sure[1000:], state), truth[1000:], model.labels, state, 0)
        for state in states
    )
    assert after["ece"] < before["ece"] / 3
    assert after["log_loss"] < before["log_loss"]
    assert after["accuracy"] == before["accuracy"]


def test_values_keep_their_precision(grey):
    state = msgspec.structs.replace(grey.state, mean=(123456789.0,), scale=(1e-3,))
    found = grey.task.decode(np.array([[2.0], [-1.0]]), state)
    assert found.flatten().tolist() == pytest.approx([123456789.002, 123456788.999], abs=1e-6, rel=0)


def test_a_saved_model_keeps_its_own_preprocessing(model, tmp_path):
    """Whatever is found out about the published weights later."""
    dark = {**model.header.preprocessing, "mean": [0.9, 0.9, 0.9]}
    header = msgspec.structs.replace(model.header, preprocessing=dark)
    save_new(tmp_path / "dark.transfer", header, model.backbone, model.head, model.novelty)
    loaded = transfer_core.load(tmp_path / "dark.transfer")
    assert loaded.backbone.preprocessing.mean == (0.9, 0.9, 0.9)
    assert not np.allclose(loaded.embed([sky()]), model.embed([sky()]), atol=0.1)


def bad_photos(root):
    """Two that can be read and three that can't, with the messages of those."""
    good, other = root / "good.png", root / "other.png"
    save(good, pixels(COLORS["brick"], seed=1))
    save(other, pixels(COLORS["sky"], seed=2))
    (root / "empty.png").touch()
    (root / "cut.png").write_bytes(good.read_bytes()[:200])
    bad = [root / "none.png", root / "empty.png", root / "cut.png"]
    reasons = ["no such file", "the file is empty", "the file is truncated"]
    inputs = list(map(str, [good, bad[0], bad[1], other, bad[2]]))
    return inputs, [f"{path}: {reason}" for path, reason in zip(bad, reasons, strict=True)]


def test_bad_inputs_are_named_all_at_once(model, tmp_path):
    inputs, messages = bad_photos(tmp_path)
    with pytest.raises(DataError) as error:
        model.predict(inputs)
    assert str(error.value) == f"3 of 5 inputs can't be used: {'; '.join(messages)}"
    with pytest.raises(DataError) as error:
        model.predict([str(tmp_path / f"{i}.png") for i in range(25)])
    assert str(error.value).count("no such file") == 20
    assert str(error.value).endswith("; and 5 more")


def test_bad_inputs_are_marked_or_skipped(model, tmp_path):
    inputs, messages = bad_photos(tmp_path)
    good = model.predict([inputs[0], inputs[3]])
    marks = [{"error": m, "path": p} for m, p in zip(messages, [*inputs[1:3], inputs[4]], strict=True)]
    expected = [good[0], *marks[:2], good[1], marks[2]]
    assert model.predict(inputs, on_bad_input="mark") == expected
    assert model.predict(inputs[1], on_bad_input="mark") == marks[0]
    with pytest.warns(TransferWarning, match="left out 3 inputs of 5 that can't be read: .*no such file"):
        assert model.predict(inputs, on_bad_input="skip") == good
    with pytest.warns(TransferWarning, match="left out 1 input of 1"):
        assert model.predict(inputs[1], on_bad_input="skip") is None
    with pytest.raises(RecipeError, match='unknown word "marc", did you mean "mark"'):
        model.predict(inputs, on_bad_input="marc")


def test_any_iterable_is_predicted_a_batch_at_a_time(model, tmp_path):
    inputs, messages = bad_photos(tmp_path)
    taken = []

    def source():
        for name in inputs * 2:
            taken.append(name)
            yield name

    predictions = model.predict_each(source(), on_bad_input="mark", batch_size=4)
    assert next(predictions)["label"] == "brick"
    assert len(taken) == 4
    rest = list(predictions)
    assert [p.get("error", p.get("label")) for p in rest[:4]] == [*messages[:2], "sky", messages[2]]
    assert len(rest) == 9
    assert model.predict(iter(inputs[:1]))[0]["label"] == "brick"
