"""Networks for images in a graph against the trained model, on odd photos; precisions; bad input."""

import json

import numpy as np
import onnx
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported
from PIL import Image

import transfer_core
from exported import Exported, assert_same
from photos import class_folder, pixels, rows
from transfer_core.runtime.errors import ConfigurationError, DataError

pytestmark = [pytest.mark.extras, pytest.mark.slow]


@pytest.fixture(scope="module")
def home_of_models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TRANSFER_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def home(home_of_models):
    """Of all tests: the network is timed once."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return class_folder(tmp_path_factory.mktemp("photos"), per_class=14)


@pytest.fixture(scope="module")
def model(home_of_models, photos):
    return transfer_core.train(backbone="mobilenet_v2", data=photos, precision="float32")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    model.export(path)
    return Exported(path)


def odd_photos(folder):
    """Files of many formats and shapes."""
    made = Image.fromarray(pixels((120, 130, 90), 5, size=300, noise=60))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    transparent = made.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(made.size))
    grey = (np.asarray(made.convert("L")).astype(np.uint16) * 257) ^ 3
    photos = {
        "rotated.jpg": lambda path: made.crop((0, 0, 300, 180)).save(path, exif=rotated),
        "cmyk.jpg": lambda path: made.convert("CMYK").save(path),
        "large.jpg": lambda path: made.resize((3100, 2300)).save(path, quality=80),
        "progressive.jpg": lambda path: made.resize((900, 700)).save(path, progressive=True),
        "grey.jpg": lambda path: made.convert("L").save(path),
        "sixteen.png": lambda path: Image.fromarray(grey).save(path),
        "transparent.png": lambda path: transparent.save(path),
        "palette.png": lambda path: made.convert("P").save(path),
        "bits.png": lambda path: made.convert("1").save(path),
        "wide.png": lambda path: made.resize((2000, 21)).save(path),
        "tall.png": lambda path: made.resize((9, 1500)).save(path),
        "one.png": lambda path: made.resize((1, 1)).save(path),
        "large.png": lambda path: made.resize((2500, 1700)).save(path),
        "photo.webp": lambda path: transparent.save(path),
        "photo.gif": lambda path: made.save(path),
        "photo.tiff": lambda path: made.save(path),
    }
    for name, write in photos.items():
        write(folder / name)
    return [folder / name for name in photos]


def upright(path, at_least):
    """As the documentation of the file asks for."""
    image = Image.open(path)
    image.draft(None, (at_least, at_least))
    turn = image.getexif().get(0x0112, 1)
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.paste(image, mask=image)
        image = white
    image = image.convert("RGB")
    return np.asarray(image.transpose(Image.Transpose.ROTATE_270) if turn == 6 else image)


def test_odd_photos(tmp_path, model, exported):
    at_least = exported.metadata["preprocessing"]["decode_at_least"]
    for path in odd_photos(tmp_path):
        found = exported.run(image=upright(path, at_least)[None])
        expected = model.embed(str(path))
        assert np.abs(found["embedding"][0] - expected).max() <= 1e-4 * np.abs(expected).max(), path.name
        assert_same(found, model.predict(str(path)), model.labels)


def test_metadata(model, exported):
    entry = exported.metadata
    assert entry["format_version"] == 1
    assert (entry["task"], entry["modality"], entry["precision"]) == ("classification", "image", "float32")
    assert entry["labels"] == ["brick", "leaf", "sky"]
    assert entry["backbone"]["name"] == "mobilenet_v2"
    assert entry["model_digest"] == model.digest
    assert entry["recipe"]["backbone"] == "mobilenet_v2"
    assert entry["metrics"] == json.loads(json.dumps(model.metrics))
    assert entry["preprocessing"]["crop_size"] == 224


def test_only_standard_operators(model, tmp_path):
    model.export(tmp_path / "m.onnx")
    found = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(found)
    assert {node.domain for node in found.graph.node} <= {"", "ai.onnx.ml"}
    assert found.opset_import[0].version == 17
    assert found.ir_version == 8


def test_half_of_the_size(tmp_path, model, exported, photos):
    report = model.export(tmp_path / "m.onnx", precision="float16", evaluation=photos)
    assert report.bytes < 0.6 * len(exported.session._model_bytes)
    assert (report.metric, report.examples, report.before) == ("accuracy", 42, 1.0)
    half = Exported(tmp_path / "m.onnx")
    assert half.metadata["precision"] == "float16"
    found = half.run(image=np.asarray(Image.open(f"{photos}/sky/1.png"))[None])
    assert found["probabilities"][0].argmax() == 2


def test_int8(tmp_path, model, exported, photos):
    report = model.export(tmp_path / "m.onnx", precision="int8", calibration=photos)
    assert report.bytes < 0.35 * len(exported.session._model_bytes)
    assert (report.metric, report.examples) == ("accuracy", 21)
    assert report.before - report.after <= 0.01
    operators = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def test_a_loss_of_accuracy_is_refused(tmp_path, model, photos):
    target = tmp_path / "m.onnx"
    with pytest.raises(ConfigurationError, match=r"int8 needs examples .* Fix: pass the training data"):
        model.export(target, precision="int8")
    with pytest.raises(ConfigurationError, match="expected at least 20"):
        model.export(target, precision="int8", calibration=list(rows(per_class=2)))
    assert not target.exists()


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("m.onnx", {"precision": "flaot16"}, 'unknown precision "flaot16", did you mean "float16"\\?'),
        ("m.onnx", {"precision": "float16", "tolerance": 3}, "a share of the metric from 0 to 1"),
        ("m.transfer", {}, r"the name must end in .onnx. Fix: export to m.onnx"),
        ("missing/m.onnx", {}, "there is no folder"),
        ("m.onnx", {"loader": "perl"}, "unknown loader"),
    ],
)
def test_bad_words(tmp_path, model, file, words, message):
    with pytest.raises(ConfigurationError, match=message):
        model.export(tmp_path / file, **words)
    assert not list(tmp_path.iterdir())


def test_bad_targets(tmp_path, model):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigurationError, match="it is a folder"):
        model.export(tmp_path / "folder.onnx")
    (tmp_path / "notes.onnx").write_text("not a graph")
    with pytest.raises(ConfigurationError, match=r"this file has another format. Fix: delete it"):
        model.export(tmp_path / "notes.onnx")
    assert (tmp_path / "notes.onnx").read_text() == "not a graph"


def test_unreadable_evaluation_data(tmp_path, model):
    with pytest.raises(DataError):
        model.export(tmp_path / "m.onnx", evaluation=str(tmp_path / "nowhere"))
    assert not (tmp_path / "m.onnx").exists()
