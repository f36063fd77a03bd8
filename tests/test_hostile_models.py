"""Saved models whose header or weights are wrong, under digests that are right: load and predict refuse them,
naming the field and the value."""

import numpy as np
import pytest

import transfer_core
from forged import fields_of, forge, tensors_of
from photos import class_folder, pixels, png
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound

pytestmark = pytest.mark.slow

PHOTO = png(pixels((60, 120, 200), seed=1))


@pytest.fixture(scope="module")
def home_of_models(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(home))
        patch.setenv("TRANSFER_OFFLINE", "1")
        yield home


@pytest.fixture(autouse=True)
def home(home_of_models):
    return home_of_models


def train(folder, **words):
    data = class_folder(folder, per_class=4)
    said = {"backbone": "squeezenet1_1", "weights": "random", "precision": "float32", "data": data}
    return transfer_core.train(**{**said, **words}).path


@pytest.fixture(scope="module")
def saved(home_of_models, tmp_path_factory):
    return train(tmp_path_factory.mktemp("photos"))


def at(path, value):
    """A change of a header: the field at `path` becomes `value`."""

    def change(fields):
        *way, last = path.split(".")
        for name in way:
            fields = fields[name]
        fields[last] = value

    return change


def several(*changes):
    def change(fields):
        for one in changes:
            one(fields)

    return change


OUT_OF_RANGE = {
    "labels: array length": (at("labels", []), "labels: expected `array` of length >= 1 (got [])"),
    "equal labels": (at("labels", ["a", "b", "a"]), 'labels: "a" is there twice'),
    "an empty label": (
        at("labels", ["a", "", "b"]),
        'labels[1]: expected `str` of length >= 1 (got "")',
    ),
    "a long label": (
        at("labels", ["a", "b", "c" * 4097]),
        f'labels[2]: expected `str` of length <= 4096 (got "{"c" * 58}…)',
    ),
    "a label that is a number": (at("labels", ["a", "b", 3]), "labels[2]: expected `str`, got `int` (got 3)"),
    "labels missing": (at("labels", None), "labels: expected `array`, got `null` (got nothing)"),
    "a temperature of 0": (
        at("state.temperature", 0),
        "state.temperature: expected `float` >= 0.001 (got 0)",
    ),
    "a tiny temperature": (
        at("state.temperature", 1e-320),
        "state.temperature: expected `float` >= 0.001 (got 1e-320)",
    ),
    "a large temperature": (
        at("state.temperature", 1e300),
        "state.temperature: expected `float` <= 1000.0 (got 1e+300)",
    ),
    "counts of other labels": (
        at("state.label_counts", [1]),
        "state.label_counts: expected 3 values, one for each label, or none (got 1)",
    ),
    "a negative count": (
        at("state.label_counts", [1, 2, -1]),
        "state.label_counts[2]: expected `int` >= 0 (got -1)",
    ),
    "a negative score": (
        at("state.nonconformity", [-1]),
        "state.nonconformity[0]: expected `float` >= 0.0 (got -1)",
    ),
    "unsorted scores": (at("state.nonconformity", [1, 0]), "state.nonconformity: expected sorted numbers"),
    "lists of scores": (
        at("state.nonconformity", [[], []]),
        "state.nonconformity[0]: expected `float`, got `array` (got [])",
    ),
    "the state of another task": (at("state.type", "regression"), "state.type: "),
    "a width of 0": (at("embedding_width", 0), "embedding_width: expected `int` >= 1 (got 0)"),
    "a huge width": (
        at("embedding_width", 2**62),
        f"embedding_width: expected `int` <= 10000000 (got {2**62})",
    ),
    "another width": (at("embedding_width", 513), "its head does not fit its header"),
    "another task": (
        at("task", "clustering"),
        'task: unknown task "clustering" (one of: classification, detection, multi_label, regression, '
        "text_to_text, translation)",
    ),
    "another modality": (at("modality", "text"), "modality: expected image (got text)"),
    "a NUL in the name of the backbone": (
        at("backbone.name", "a\0b"),
        "backbone.name: expected `str` matching regex '^[^\\\\0]*$' (got \"a\\u0000b\")",
    ),
    "a NUL in the weights": (
        at("backbone.weights", "/a\0.pth"),
        "backbone.weights: expected `str` matching regex '^[^\\\\0]*$' (got \"/a\\u0000.pth\")",
    ),
    "an unknown backbone": (
        at("backbone.name", "resnet19"),
        'backbone: unknown backbone "resnet19", did you mean',
    ),
    "a backbone that is a file": (
        at("backbone.name", "onnx:/etc/passwd"),
        "backbone.facts: is missing, as onnx:/etc/passwd needs it",
    ),
    "facts of nothing": (
        at("backbone.facts", {"a": 1}),
        'backbone.facts: object missing required field `name` (got {"a": 1})',
    ),
    "a crop of 60,000 pixels": (
        at("preprocessing.crop_size", 60_000),
        "preprocessing.crop_size: expected `int` <= 2048 (got 60000)",
    ),
    "a crop of 0": (at("preprocessing.crop_size", 0), "preprocessing.crop_size: expected `int` >= 1 (got 0)"),
    "a negative crop": (
        at("preprocessing.crop_size", -224),
        "preprocessing.crop_size: expected `int` >= 1 (got -224)",
    ),
    "a crop that is larger than the image": (
        at("preprocessing.resize_size", 100),
        "preprocessing.resize_size: expected at least the crop_size, 224 (got 100)",
    ),
    "a deviation of 0": (
        at("preprocessing.std", [0, 1, 1]),
        "preprocessing.std[0]: expected `float` >= 1e-06 (got 0)",
    ),
    "two means": (
        at("preprocessing.mean", [0, 0]),
        "preprocessing.mean: expected `array` of length 3, got 2 (got [0, 0])",
    ),
    "no preprocessing": (at("preprocessing", {}), "preprocessing: is missing, as a backbone for images"),
    "an empty recipe": (at("recipe", {}), "its recipe is wrong: data: is missing. "),
    "no head": (at("recipe.head", None), "its recipe has no head"),
    "another head": (at("recipe.head", {"type": "knn"}), "its head does not fit its header"),
    "a hundred thousand layers": (
        at("recipe.head", {"type": "mlp", "hidden": [1] * 100_000}),
        "its recipe is wrong: head.hidden: expected at most 32 values (got 100000)",
    ),
    "wide layers": (
        at("recipe.head", {"type": "mlp", "hidden": [65_536, 65_536]}),
        "its head does not fit its header",
    ),
    "a hundred thousand unknown words": (
        at("recipe", {str(number): 1 for number in range(100_000)}),
        "its recipe is wrong: expected at most 100 words (got 100000)",
    ),
    "a negative size": (at("sizes", {"train": -1}), 'sizes[...]: expected `int` >= 0 (got {"train": -1})'),
    "a metric of 30 digits": (at("metrics", {"a": 10**29}), None),
}


@pytest.mark.parametrize("kind", OUT_OF_RANGE)
def test_a_header_out_of_range_is_refused(kind, saved, tmp_path):
    change, message = OUT_OF_RANGE[kind]
    change(fields := fields_of(saved))
    path = forge(tmp_path / "odd.transfer", fields, tensors_of(saved))
    with pytest.raises(ModelFileError) as raised:
        transfer_core.load(path)
    if message is None:
        assert (
            str(raised.value)
            == f"{path} is damaged: it has the integer {10**29}, which has more than 64 bits"
        )
    else:
        assert str(raised.value).startswith(f"{path} can't be used: {message}")


HEAD, KERNEL = "head.0.weight", "backbone.blocks.fire2.0.expand1x1.weight"
NUMBERS = {
    "another number of outputs": (HEAD, lambda w: w[:2], "its head does not fit its header"),
    "whole numbers": (HEAD, lambda w: w.astype(np.int8), "its head does not fit its header"),
    "64 bits": (HEAD, lambda w: w.astype(np.float64), "its head does not fit its header"),
    "NaN in the head": (HEAD, lambda w: w * np.nan, f"{HEAD}: expected finite numbers (got NaN)"),
    "infinity in the head": (HEAD, lambda w: w + np.inf, f"{HEAD}: expected finite numbers (got infinity)"),
    "3e38 in the head": (HEAD, lambda w: w * 0 + 3e38, "its head has the weight 3e+38, expected at most"),
    "NaN in the backbone": (KERNEL, lambda w: w * np.nan, f"{KERNEL}: expected finite numbers (got NaN)"),
    "one infinity in the backbone": (
        KERNEL,
        lambda w: np.where(np.arange(w.size).reshape(w.shape) == 7, -np.inf, w).astype(w.dtype),
        f"{KERNEL}: expected finite numbers (got infinity)",
    ),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_weights_that_no_model_has_are_refused(kind, saved, tmp_path):
    name, change, message = NUMBERS[kind]
    tensors = tensors_of(saved)
    tensors[name] = change(tensors[name])
    path = forge(tmp_path / "odd.transfer", fields_of(saved), tensors)
    with pytest.raises(ModelFileError) as raised:
        transfer_core.load(path)
    assert str(raised.value).startswith(f"{path} can't be used: {message}")


def test_images_that_take_too_much_for_the_network(tmp_path):
    saved = train(tmp_path / "photos", backbone="mobilenet_v2")
    fields = fields_of(saved)
    fields["preprocessing"] |= {"crop_size": 2048, "resize_size": 2048}
    path = forge(tmp_path / "large.transfer", fields, tensors_of(saved))
    assert refusal(path) == (
        "preprocessing.crop_size: for images of 2048 pixels a layer outputs 100,663,296 numbers, "
        "limit: 67,108,864"
    )
    fields["preprocessing"] |= {"crop_size": 8, "resize_size": 8}
    small = transfer_core.load(forge(tmp_path / "small.transfer", fields, tensors_of(saved)))
    assert np.isfinite(list(small.predict(PHOTO)["scores"].values())).all()


def test_an_image_that_is_too_small_for_the_network(saved, tmp_path):
    fields = fields_of(saved)
    fields["preprocessing"] |= {"crop_size": 1, "resize_size": 1}
    path = forge(tmp_path / "small.transfer", fields, tensors_of(saved))
    with pytest.raises(ModelFileError) as raised:
        transfer_core.load(path).predict(PHOTO)
    assert str(raised.value).startswith(f"{path} can't be used: RuntimeError: ")


def test_predictions_that_overflow_are_an_error(saved, tmp_path):
    """Weights that are finite each, and sums that are not."""
    fields, tensors = fields_of(saved), tensors_of(saved)
    tensors[HEAD] = np.full_like(tensors[HEAD], 9e29)
    last = max(name for name in tensors if name.startswith("backbone.") and name.endswith("weight"))
    tensors[last] = np.full_like(tensors[last], 1e12)
    model = transfer_core.load(forge(tmp_path / "large.transfer", fields, tensors))
    with pytest.raises(ModelFileError, match="can't be used: its predictions are not finite numbers"):
        model.predict(PHOTO)


def refusal(path):
    with pytest.raises(ModelFileError) as raised:
        transfer_core.load(path)
    return str(raised.value).removeprefix(f"{path} can't be used: ")


# Without its backbone.


@pytest.mark.parametrize("weights", ["/etc/passwd", "/dev/zero", "~/x.pth", "photo.png"])
def test_a_file_that_the_header_names_is_not_parsed_unless_it_is_that_of_the_training(
    weights, saved, tmp_path, monkeypatch
):
    """Whatever it is: the digest is not that of the weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photo.png").write_bytes(PHOTO)
    (tmp_path / "x.pth").write_bytes(b"\x80\x04.")
    fields = fields_of(saved)
    fields["backbone"] |= {"inside": False, "weights": weights}
    heads = {name: array for name, array in tensors_of(saved).items() if name.startswith("head.")}
    path = forge(tmp_path / "odd.transfer", fields, heads)
    with pytest.raises((ModelFileError, WeightsNotFound)) as raised:
        transfer_core.load(path)
    if weights == "/dev/zero":
        assert str(raised.value) == "weights: the file /dev/zero does not exist"
    elif weights == "photo.png":  # without a folder it is a name
        assert "unknown weights" in str(raised.value)
    else:
        assert str(raised.value).startswith(f"the weights {weights} of squeezenet1_1 are not those that")


# Heads of other kinds.


FITTED = {
    "svm": {
        "dual": (lambda a: a[:, :1], "its head: dual is of the shape [{0}, 1], expected [{0}, 2]"),
        "counts": (lambda a: a[:2], "its head: counts is of the shape [2], expected [3]"),
        "intercept": (lambda a: a[:1], "its head: intercept is of the shape [1], expected [3]"),
        "scale": (lambda a: a * 0, "its head does not give a finite number for each label"),
    },
    "random_forest": {
        "feature": (lambda a: a + 512, "its head: feature has numbers from 0 to 511 (got "),
        "left": (lambda a: a + 10_000, "its head: left has numbers from 0 to"),
        "right": (lambda a: -a - 1, "its head: right has numbers from 0 to"),
        "leaf": (lambda a: a + 10_000, "its head: leaf has numbers from 0 to"),
        "roots": (lambda a: a + 10_000, "its head: roots has numbers from 0 to"),
        "depth": (lambda a: a + 10**9, "its head: depth has numbers from 0 to 100000 (got 100000000"),
        "kind": (lambda a: a + 7, "its head: kind has numbers from 0 to 2 (got 8)"),
        "threshold": (lambda a: a.astype(np.float32)[:3], "its head: feature is of the shape ["),
        "values": (lambda a: a[:, :1], "its head: values is of the shape ["),
    },
    "gradient_boosting": {
        "column": (lambda a: a + 3, "its head: column has numbers from 0 to 2 (got"),
        "baseline": (lambda a: a * np.nan, "head.0.baseline: expected finite numbers (got NaN)"),
    },
    "knn": {
        "count": (lambda a: a * 0, "its head: count has numbers from 1 to"),
        "votes": (lambda a: a[:, :2], "its head: votes is of the shape"),
        "mean": (lambda a: a[:1], "its head: mean is of the shape [1], expected [512]"),
    },
}


@pytest.fixture(scope="module")
def fitted(home_of_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    small = {"random_forest": {"trees": 3}, "gradient_boosting": {"trees": 3}, "knn": {"neighbors": 2}}
    return {kind: train(folder, head={"type": kind, **small.get(kind, {})}) for kind in FITTED}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in FITTED.items() for name in names])
def test_numbers_of_a_fitted_head_that_lead_astray(kind, name, fitted, tmp_path):
    change, message = FITTED[kind][name]
    tensors = tensors_of(fitted[kind])
    transfer_core.load(forge(tmp_path / "same.transfer", fields_of(fitted[kind]), tensors))
    tensors[f"head.0.{name}"] = np.asarray(change(tensors[f"head.0.{name}"]), order="C")
    path = forge(tmp_path / "odd.transfer", fields_of(fitted[kind]), tensors)
    rows = len(tensors["head.0.support"]) if kind == "svm" else 0
    assert refusal(path).startswith(message.format(rows))


def test_the_embeddings_of_other_weights_never_take_the_place_of_published_ones(tmp_path):
    """A file may claim published weights and bring others: what it computes must not reach other models."""
    data = class_folder(tmp_path / "photos", per_class=4)
    words = {"backbone": "mobilenet_v2", "data": data, "precision": "float32"}
    labels = ("brick", "leaf", "sky")
    rows = [{"input": png(pixels((20, 200, 90), seed)), "label": label} for seed, label in enumerate(labels)]
    unseen = rows[0]["input"]
    genuine = transfer_core.train(**words)
    expected = genuine.embed(unseen)
    fields, tensors = fields_of(genuine.path), tensors_of(genuine.path)
    for name in tensors:
        if name.startswith("backbone.") and tensors[name].ndim == 4:
            tensors[name] = tensors[name] * 2
    forged = transfer_core.load(forge(tmp_path / "forged.transfer", fields, tensors))
    wrong = forged.evaluate(rows)["log_loss"]
    loaded = transfer_core.load(genuine.path)
    assert loaded.backbone.weights_digest == genuine.backbone.weights_digest
    assert forged.backbone.weights_digest != genuine.backbone.weights_digest
    assert loaded.evaluate(rows)["log_loss"] == genuine.evaluate(rows)["log_loss"] != wrong
    assert np.array_equal(loaded.embed(unseen), expected)
