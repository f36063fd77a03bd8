"""The training examples that are nearest to an input: stored with the model, and bounded in its file."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import transfer_core
from forged import fields_of, forge, tensors_of
from photos import class_folder, pixels, png
from transfer_core.heads import gallery
from transfer_core.runtime.errors import ModelFileError, RecipeError

DIGITS, CLASSES = load_digits(return_X_y=True)
DIGITS, CLASSES = DIGITS[:150], CLASSES[:150]


def cells(digit):
    return {f"p{place:02}": float(cell) for place, cell in enumerate(digit)}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def rows():
    return [{"input": cells(digit), "label": f"digit {n}"} for digit, n in zip(DIGITS, CLASSES, strict=True)]


@pytest.fixture(scope="module")
def digits(rows):
    return transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    data = class_folder(tmp_path_factory.mktemp("photos"), per_class=5)
    return data, transfer_core.train(
        backbone="squeezenet1_1", weights="random", precision="float32", data=data
    )


def test_nearest_rows_are_those_of_scikit_learn(digits):
    stored = digits.novelty.examples.astype(np.float64)
    inputs = [cells(digit) for digit in DIGITS[:40]]
    distances, places = NearestNeighbors(n_neighbors=3).fit(stored).kneighbors(digits.embed(inputs))
    for row, input in enumerate(inputs):
        found = digits.similar(input, 3)
        assert [one.distance for one in found] == pytest.approx(distances[row], abs=1e-6)
        assert [one.text for one in found] == [digits.novelty.input(place) for place in places[row]]
        truth = [CLASSES[row_of(one.text)] for one in found]
        assert [one.label for one in found] == [f"digit {n}" for n in truth]


TEXTS = [", ".join(f"{name}: {cell}" for name, cell in cells(digit).items()) for digit in DIGITS]


def row_of(text):
    """The row of the data that a stored text begins like."""
    return next(row for row, full in enumerate(TEXTS) if full.startswith(text.removesuffix("…")))


def test_a_training_photo_is_nearest_to_itself_with_its_thumbnail(photos, tmp_path):
    data, model = photos
    loaded = transfer_core.load(model.save(tmp_path / "m.transfer"))
    stored = {model.novelty.input(row) for row in range(len(model.novelty.examples))}
    found = 0
    for path in Path(data).rglob("*.*"):
        if f"{path.parent.name}/{path.name}" not in stored:
            continue
        first, second = loaded.similar(str(path), 2)
        assert first.name == f"{path.parent.name}/{path.name}"
        assert first.label == path.parent.name
        assert first.distance < 0.01
        assert first.distance <= second.distance
        thumbnail = Image.open(BytesIO(first.thumbnail))
        original = np.asarray(Image.open(path).convert("RGB"))
        assert max(thumbnail.size) <= 64
        assert np.asarray(thumbnail).mean((0, 1)) == pytest.approx(original.mean((0, 1)), abs=3)
        assert first.to_dict()["text"] is None
        found += 1
    assert found == len(stored)


def test_without_kept_examples_only_labels_are_stored(rows):
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows[:60], keep_examples=False)
    assert len(model.novelty.inputs) == len(model.novelty.thumbnails) == 0
    found = model.similar(rows[0]["input"])
    assert [(one.name, one.text, one.thumbnail) for one in found] == [(None, None, None)] * 5
    assert found[0].label.startswith("digit ")


def test_a_continued_training_keeps_the_texts_of_both(digits, rows):
    base = transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows[:100])
    continued = transfer_core.train(data=rows[100:], **{"from": base.path})
    texts = [continued.novelty.input(row) for row in range(len(continued.novelty.examples))]
    assert None not in texts
    numbers = [row_of(text) for text in texts]
    assert min(numbers) < 100 <= max(numbers)


def test_influences_are_those_of_training_again_without_an_example(rows):
    data = [row for row in rows if row["label"] in ("digit 3", "digit 8", "digit 9")]
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=data)
    stored, new = model.novelty, data[3]["input"]
    scale = np.sqrt(stored.penalty.astype(float))
    x, y = stored.examples / scale, stored.targets
    own = model.embed(new)[None] / scale

    def score(row, weight):
        weights = np.where(np.arange(len(x)) == row, weight, 1)
        fit = LogisticRegression(C=1 / len(x), tol=1e-10, max_iter=10_000).fit(x, y, weights)
        return fit.predict_log_proba(own)[0, predicted]

    predicted = model.labels.index(model.predict(new)["label"])
    everything = range(len(x))
    retrained = [score(row, 1) - score(row, 0) for row in everything]
    found = model.influential(new, len(x))
    by_text = {one.text: one.influence for one in found}
    influence = np.array([by_text[stored.input(row)] for row in everything])
    assert spearmanr(influence, retrained)[0] > 0.9
    for row in np.argsort(-np.abs(influence))[:3]:
        derivative = (score(row, 1.01) - score(row, 0.99)) / 0.02
        assert influence[row] == pytest.approx(derivative, rel=0.05)
    assert [abs(one.influence) for one in found] == sorted(np.abs(influence))[::-1]


def test_influences_on_values_and_labels():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 3))
    rows = [
        {"input": {"a": float(a), "b": float(b), "c": float(c)}, "label": float(a - b + rng.normal())}
        for a, b, c in x
    ]
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows, task="regression")
    stored, own = model.novelty, model.embed(rows[0]["input"]).astype(float)
    z, y = stored.examples.astype(float), stored.targets.astype(float).reshape(-1)
    count, penalty = len(z), np.append(stored.penalty.astype(float), 0)
    design = np.append(z, np.ones((count, 1)), axis=1)

    def value(kept):
        gram = design[kept].T @ design[kept] / count + np.diag(penalty)
        return np.append(own, 1) @ np.linalg.solve(gram, design[kept].T @ y[kept] / count)

    everything = np.arange(count)
    retrained = [value(everything) - value(np.delete(everything, row)) for row in everything]
    by_text = {one.text: one.influence for one in model.influential(rows[0]["input"], count)}
    influence = [by_text[stored.input(row)] for row in everything]
    assert spearmanr(influence, retrained)[0] > 0.9
    assert influence == pytest.approx(retrained, abs=0.3 * np.abs(retrained).max())


def test_other_heads_have_no_influences(rows):
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows[:60], head="random_forest")
    assert len(model.similar(rows[0]["input"])) == 5
    with pytest.raises(RecipeError, match=r"influences are of linear heads .* this model has another head"):
        model.influential(rows[0]["input"])


def test_labels_and_values():
    texts = ["red sun", "blue sea", "red sea", "blue sun", "green sea", "green sun"] * 4
    several = [{"input": f"{text} {n}", "label": text.split()} for n, text in enumerate(texts)]
    model = transfer_core.train(backbone="sklearn:TfidfVectorizer", data=several, task="multi_label")
    nearest = model.similar("red sea 2", 1)[0]
    assert sorted(nearest.label) == sorted(nearest.text.split()[:2])
    numbers = [{"input": {"x": float(n)}, "label": 2.5 * n} for n in range(30)]
    model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=numbers, task="regression")
    nearest = model.similar({"x": 7.1}, 1)[0]
    assert nearest.text == f"x: {nearest.label / 2.5}"


def test_what_can_not_be_had(digits, rows, photos):
    with pytest.raises(RecipeError, match="expected 1 or more"):
        digits.similar(rows[0]["input"], 0)
    with pytest.raises(RecipeError, match="expected one row"):
        digits.similar([rows[0]["input"]] * 2)


def test_stored_bytes_are_bounded(digits, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_BYTES", 100)
    count = len(digits.novelty.examples)
    found = gallery.with_inputs(digits.novelty, ["ä" * 20] * count, [b"x" * 60] * count)
    assert [found.input(row) for row in range(4)] == ["ä" * 20, "ä" * 20, None, None]
    assert [found.thumbnail(row) for row in range(3)] == [b"x" * 60, None, None]
    found.check(digits.header.embedding_width, 10)


DAMAGES = {
    "unsorted ends": ("input_ends", lambda x: x[::-1]),
    "negative ends": ("thumbnail_ends", lambda x: x - 10**9),
    "ends beyond": ("input_ends", lambda x: x + 1),
    "an end too few": ("input_ends", lambda x: x[:-1]),
    "ends that are no integers": ("thumbnail_ends", lambda x: x.astype(np.float64)),
    "text that is no UTF-8": ("inputs", lambda x: np.full_like(x, 0xFF)),
    "text of other numbers": ("inputs", lambda x: x.astype(np.int64)),
    "a table of thumbnails": ("thumbnails", lambda x: x[None]),
    "too many bytes": ("thumbnails", lambda x: np.zeros(2_000_001, np.uint8)),
    "a negative penalty": ("penalty", lambda x: np.full(512, -1, np.float32)),
    "a short penalty": ("penalty", lambda x: np.ones(5, np.float32)),
    "no thumbnails": ("thumbnails", None),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_examples_are_refused(photos, tmp_path, kind):
    name, change = DAMAGES[kind]
    tensors = tensors_of(photos[1].path)
    key = f"novelty.0.{name}"
    tensors = {k: v for k, v in tensors.items() if k != key} | ({key: change(tensors[key])} if change else {})
    if kind == "too many bytes":
        tensors["novelty.0.thumbnail_ends"][-1] = 2_000_001
    path = forge(tmp_path / "odd.transfer", fields_of(photos[1].path), tensors)
    with pytest.raises(ModelFileError, match=r"its (novelty detector|stored examples)|utf-8"):
        transfer_core.load(path)


def test_a_thumbnail_that_is_no_small_jpeg_is_refused(photos, tmp_path):
    tensors = tensors_of(photos[1].path)
    large = BytesIO()
    Image.new("RGB", (65, 10)).save(large, "JPEG")
    for content in (png(pixels((1, 2, 3), seed=0)), large.getvalue(), b"no image", b"\xff\xd8\xff"):
        tensors["novelty.0.thumbnails"] = np.frombuffer(content, np.uint8)
        count = len(tensors["novelty.0.examples"])
        tensors["novelty.0.thumbnail_ends"] = np.full(count, len(content))
        path = forge(tmp_path / "odd.transfer", fields_of(photos[1].path), tensors)
        with pytest.raises(ModelFileError, match="a thumbnail is no JPEG of at most 64 × 64 pixels"):
            transfer_core.load(path).similar(png(pixels((60, 120, 200), seed=1)), 100)


def test_plain_data(digits, rows):
    assert json.loads(json.dumps(digits.similar(rows[0]["input"])[0].to_dict()))["distance"] < 1e-2
