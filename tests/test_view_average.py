"""Test-time augmentation through the public API: means over views, and errors where there are none."""

import numpy as np
import pytest
import sklearn.linear_model  # noqa: F401, its first import sets variables of the environment
from PIL import Image

import transfer_core
from photos import class_folder, pixels, png, save
from transfer_core.features import load_augmented_pixels
from transfer_core.recipe.augmentations import Crop
from transfer_core.runtime.errors import DataError, RecipeError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    home = pytest.MonkeyPatch()
    home.setenv("TRANSFER_HOME", str(folder / "home"))
    trained = transfer_core.train(
        backbone="mobilenet_v2", data=class_folder(folder / "photos"), device="cpu", precision="float32"
    )
    yield trained
    home.undo()


@pytest.fixture
def photo(tmp_path):
    """Not symmetric."""
    array = pixels((150, 110, 90), seed=5)
    array[:, :20] = (40, 140, 60)
    return save(tmp_path / "photo.png", array)


def scores(prediction):
    return np.array([prediction["scores"][label] for label in ("brick", "leaf", "sky")])


def test_flip_is_the_mean_of_a_photo_and_its_mirror_image(model, photo, tmp_path):
    mirrored = save(tmp_path / "mirrored.png", np.asarray(Image.open(photo))[:, ::-1])
    alone = [scores(one) for one in model.predict([photo, mirrored])]
    assert np.abs(alone[0] - alone[1]).max() > 1e-5
    for one in (photo, mirrored):
        found = model.predict(one, augment=["flip"])
        assert scores(found) == pytest.approx(np.mean(alone, axis=0), abs=2e-4)
        assert found["label"] == max(found["scores"], key=found["scores"].get)


def test_random_views_are_those_of_the_seeds_and_independent_of_the_batch(model, photo):
    crop = {"type": "crop", "min_scale": 0.5}
    found = model.predict(photo, augment=[crop])
    third = model.predict([photo, png(pixels((9, 9, 9), 1)), photo], augment=[crop])[2]
    assert scores(third) == pytest.approx(scores(found), abs=1e-5)
    views = [photo]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        view = load_augmented_pixels(photo, model.backbone.preprocessing, [Crop(0.5)], rng)
        views.append(view)
    rows = np.concatenate(
        [model.compute([lambda: model.load(0, photo, 1)])[0]]
        + [model.compute([lambda view=view: view])[0] for view in views[1:]]
    )
    mean = model.predictor.values(rows).mean(axis=0)
    assert scores(found) == pytest.approx(mean, abs=1e-5)


def test_the_default_and_bad_inputs(model, photo, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    one, bad = model.predict([photo, str(tmp_path / "text.png")], on_bad_input="mark", augment=True)
    assert one == model.predict(photo, augment=True)
    assert sum(one["scores"].values()) == pytest.approx(1)
    assert set(bad) == {"error", "path"}
    with pytest.raises(DataError):
        model.predict([str(tmp_path / "text.png")], augment=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"augment": ["flp"]}, 'augment[0]: unknown augmentation "flp", did you mean "flip"?'),
        ({"augment": ["flip", "mixup"]}, "augment[1]: mixup is for training. Try: flip, crop"),
        ({"augment": ["style"]}, "augment[0]: style is for training"),
        ({"augment": True, "level": 0.8}, "level: prediction sets are calibrated on single views"),
    ],
)
def test_wrong_words(model, photo, words, message):
    with pytest.raises(RecipeError) as raised:
        model.predict(photo, **words)
    assert message in str(raised.value)


def test_only_images_have_views():
    rows = [{"input": {"x": float(i % 2 + i / 100)}, "label": "ab"[i % 2]} for i in range(40)]
    table = transfer_core.train(backbone="sklearn:StandardScaler", data=rows)
    with pytest.raises(RecipeError, match="augment: varies images, but this model takes rows"):
        table.predict({"x": 1.0}, augment=True)
