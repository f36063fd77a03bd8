"""Backbones whose embeddings are concatenated, through the public functions."""

import msgspec
import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
from PIL import Image

import transfer_core
from transfer_core.model_file.format import read_model, write_model
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, RecipeError
from transfer_core.worker.model_cache import ModelRef, memory_of, read_and_prepare

MEMBERS = ("squeezenet1_1", "shufflenet_v2_x1_0")
JOINT = "joint:" + "+".join(MEMBERS)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir()
        for number in range(8):
            pixels = np.clip(rng.normal(colour, 40, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """The joint model, and one of each member."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        yield [
            transfer_core.train(backbone=name, weights="random", data=str(photos))
            for name in (JOINT, *MEMBERS)
        ]


def some(photos):
    return [str(path) for path in sorted(photos.glob("*/1*.png"))] + [str(photos / "blue" / "3.png")]


def test_the_embedding_is_that_of_each_member_in_turn(trained, photos):
    joint, *members = trained
    alone = np.concatenate([model.embed(some(photos)) for model in members], axis=1)
    np.testing.assert_array_equal(joint.embed(some(photos)), alone)
    assert joint.header.embedding_width == alone.shape[1]
    assert joint.header.recipe["backbone"] == JOINT
    head, state = joint.head.state_dict(), joint.state
    logits = (alone @ head["0.weight"].T + head["0.bias"]) / state.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [[p["scores"][label] for label in joint.labels] for p in joint.predict(some(photos))]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_saved_model_predicts_the_same_in_a_worker(trained, photos, tmp_path):
    joint = trained[0]
    path = joint.save(tmp_path / "joint.transfer")
    served = read_and_prepare(ModelRef(str(path)))
    assert served.predict(some(photos)) == joint.predict(some(photos))
    assert [member.name for member in served.header.backbone.members] == list(MEMBERS)
    assert memory_of(served) > sum(memory_of(model) for model in trained[1:]) * 0.9
    served.report(tmp_path / "report.html")
    assert JOINT in (tmp_path / "report.html").read_text()


def test_what_it_can_not_do_is_explained(trained, photos, tmp_path):
    joint = trained[0]
    with pytest.raises(ConfigurationError, match=r"has 2 networks.*Fix: train with one of them to export"):
        joint.export(tmp_path / "joint.onnx")
    with pytest.raises(ConfigurationError, match="has 2 networks"):
        joint.explain(some(photos)[0])


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("joint:squeezenet1_1", "takes two to 8 different backbones"),
        ("joint:squeezenet1_1+squeezenet1_1", "takes two to 8 different backbones"),
        ("joint:squeezenet1_1+sklearn:TfidfVectorizer", "Fix: join backbones for one kind of input"),
        ("joint:sklearn:TfidfVectorizer+sklearn:CountVectorizer", "can't be joined with others"),
        ("joint:squeezenet1_1+shufflenet", 'unknown backbone "shufflenet"'),
    ],
)
def test_wrong_names_are_explained(photos, backbone, message):
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(backbone=backbone, data=str(photos))


def test_it_can_not_be_fine_tuned(photos):
    with pytest.raises(RecipeError, match="can only be used as it is: leave it frozen"):
        transfer_core.train(backbone=JOINT, weights="random", data=str(photos), preset="balanced")


@pytest.mark.parametrize("change", ["fewer", "other_name", "swapped"])
def test_a_forged_file_is_rejected(trained, tmp_path, change):
    path = trained[0].save(tmp_path / "joint.transfer")
    header, arrays, _ = read_model(path)
    source = header.backbone
    wrong = {
        "fewer": {"members": source.members[:1]},
        "other_name": {"name": "joint:squeezenet1_1+mobilenet_v2"},
        "swapped": {"members": source.members[::-1]},
    }[change]
    forged = msgspec.structs.replace(header, backbone=msgspec.structs.replace(source, **wrong))
    write_model(path, dict(arrays), forged, None)
    with pytest.raises(ModelFileError):
        transfer_core.load(path)
