"""Whole trainings on small coloured photos, with MobileNetV2's real weights."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import transfer_core
from photos import COLORS, class_folder, pixels, png, rows, save
from transfer_core.model_file.format import read_model
from transfer_core.pipeline import five_steps
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import Cancelled, ConfigurationError, DataError
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.slow

TUNE = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 1, "batch_size": 8},
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight photos of each of three classes."""
    return class_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Five photos of each of two classes."""
    two = {label: COLORS[label] for label in ("brick", "sky")}
    return class_folder(tmp_path_factory.mktemp("few"), per_class=5, colors=two)


def train(data, **words):
    return transfer_core.train(backbone="mobilenet_v2", data=data, **words)


def tensors(model):
    return read_model(model.path)[1]


def differing(first, second):
    """The tensors that are not the same in both models, to the last bit."""
    first, second = tensors(first), tensors(second)
    assert first.keys() == second.keys()
    return [name for name in first if not np.array_equal(first[name], second[name])]


def runs(home):
    return sorted((home / "runs").glob("*")) if (home / "runs").exists() else []


def test_classification(photos, home, mobilenet):
    events = []
    model = train(photos, on_event=events.append)
    assert model.labels == tuple(COLORS)
    assert model.header.sizes == {"train": 16, "valid": 3, "test": 5}
    assert model.metrics["examples"] == 5
    assert [path.name for path in runs(home)] == [model.path.parent.name]
    assert {path.name for path in model.path.parent.iterdir()} == {"model.transfer", "report.html"}
    stages = [event["step"] for event in events if event["event"] == "stage"]
    assert stages == ["choose", "freeze", "head", "train", "evaluate"]
    assert not model.header.backbone.fine_tuned
    assert model.header.backbone.weights == mobilenet.weights.name


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ({"head": {"type": "mlp", "hidden": [16]}}, {"head": "mlp"}),
        ({"head": {"type": "linear", "dropout": 0.2}}, {"head": {"type": "linear", "dropout": 0.5}}),
        ({"optimizer": "adam", "epochs": 20}, {"optimizer": "sgd", "epochs": 20}),
        ({"optimizer": "sgd", "learning_rate": 0.01}, {"optimizer": "sgd", "learning_rate": 0.02}),
        ({"class_weights": "balanced"}, {"class_weights": "none"}),
        ({"class_weights": {"brick": 2.0}, "optimizer": "adamw"}, {"optimizer": "adamw"}),
        ({"augment": ["flip", "crop", {"type": "rotate", "degrees": 10}, "color"]}, {"augment": []}),
        ({"split": {"valid": 0, "test": 0.3}, "optimizer": "adam"}, {"optimizer": "adam"}),
    ],
    ids=str,
)
def test_each_option_of_the_head_and_its_training_changes_the_head(words, others):
    unbalanced = list(rows())[4:]
    changed = differing(train(unbalanced, **words), train(unbalanced, **others))
    assert any(name.startswith("head.") for name in changed)


def test_fine_tuning(photos):
    events = []
    model = train(photos, steps=TUNE, on_event=events.append)
    stages = [event["step"] for event in events if event["event"] == "stage"]
    assert stages == ["choose", "freeze", "head", "train", "fine_tune", "evaluate"]
    assert model.header.backbone.fine_tuned
    assert [entry["step"] for entry in model.history][-1] == "fine_tune"
    published = transfer_core.backbones.load("mobilenet_v2")
    changed = {
        name.split(".")[1]
        for name, tensor in published.blocks.state_dict(prefix="blocks.").items()
        if not torch.equal(tensor, model.backbone.state_dict()[name])
    }
    assert changed == set(published.facts.blocks[-2:])
    assert model.header.backbone.weights_digest != published.weights_digest


@pytest.mark.parametrize("preset", ["balanced", "best"])
def test_presets_choose_the_views_with_the_lower_held_out_loss(few, preset):
    """Of few photos the backbone stays frozen: no fine-tuning could be seen to gain."""
    model = train(few, preset=preset)
    candidates = [train(few, augment=augment) for augment in ([], [{"type": "crop", "min_scale": 0.8}])]
    better = min(candidates, key=lambda one: min(entry["validation_loss"] for entry in one.history))
    assert model.recipe.augment == better.recipe.augment
    assert not differing(model, better)
    assert model.metrics == better.metrics


@pytest.fixture
def manifest(tmp_path):
    """A table of photos that are as grey as their value says."""
    lines = ["path,grey,darkness,split"]
    for i, grey in enumerate(np.linspace(30, 220, 24)):
        save(tmp_path / f"{i}.png", pixels((grey, grey, grey), seed=i))
        lines.append(f"{i}.png,{grey},{1e6 * (255 - grey)},{'test' if i % 4 == 1 else 'train'}")
    table = tmp_path / "greys.csv"
    table.write_text("\n".join(lines))
    return str(table)


def test_regression(manifest):
    model = train(manifest, columns={"target": "grey"})
    assert (model.header.task, model.labels) == ("regression", ("grey",))
    assert model.metrics["r2"] > 0.8
    assert 60 < model.predict(png(pixels((100, 100, 100), seed=99)))["value"] < 140


def test_regression_with_several_outputs_of_different_size(manifest):
    model = train(manifest, columns={"target": ["grey", "darkness"]})
    assert model.labels == ("grey", "darkness")
    assert model.metrics["r2"] > 0.8
    values = model.predict(png(pixels((100, 100, 100), seed=99)))["values"]
    # The second is a function of the first, a million times as large.
    assert values["darkness"] == pytest.approx(1e6 * (255 - values["grey"]), abs=1e6)


def test_fine_tuned_regression(manifest):
    # A head of one epoch leaves something to gain; the fitted one hardly does.
    freeze, _, unfreeze, further = TUNE
    head = {"type": "train", "optimizer": "adam", "epochs": 1}
    steps = [freeze, head, unfreeze, {**further, "epochs": 2}]
    model = train(manifest, columns={"target": "grey"}, steps=steps)
    assert model.metrics["r2"] > 0.7
    assert model.header.backbone.fine_tuned


class Photo(bytes):
    """Bytes that tell when they are freed; a weak reference to bytes there is none."""

    alive = 0

    def __del__(self):
        Photo.alive -= 1


def test_a_stream_is_never_in_memory_as_a_whole(home):
    most = 0

    def watched():
        nonlocal most
        for row in rows():
            image = Photo(row["input"])
            Photo.alive += 1
            most = max(most, Photo.alive)
            yield {**row, "input": image}
            del image, row

    model = train(watched())
    gc.collect()
    assert sum(model.header.sizes.values()) == 24
    assert most <= 3
    assert Photo.alive == 0


def test_rows_and_files_give_the_same_model(photos):
    # Rows have no names of files.
    names = {"novelty.0.inputs", "novelty.0.input_ends"}
    assert set(differing(train(photos), train(list(rows())))) == names
    assert differing(train(list(rows())), train(list(rows()))) == []


def test_named_parts(photos, few, tmp_path):
    valid = [row for row in rows(per_class=10) if row["label"] != "leaf"][-4:]
    test = class_folder(tmp_path / "test", per_class=2, first_seed=900)
    model = train({"train": photos, "valid": valid, "test": Path(test)})
    assert model.header.sizes == {"train": 22, "valid": 4, "test": 6}  # two are in both


def test_nothing_is_held_out(few):
    model = train(few, split={"valid": 0, "test": 0})
    assert model.header.sizes == {"train": 10, "valid": 0, "test": 0}
    assert model.metrics == {}
    assert model.header.warnings == ("nothing was held out, so the model was not measured",)
    assert model.predict(png(pixels(COLORS["sky"], seed=77)))["label"] == "sky"


def test_fine_tuning_with_nothing_held_out(few):
    model = train(few, split={"valid": 0, "test": 0}, steps=TUNE)
    assert model.state.temperature == 1.0
    assert model.history[-1].keys() == {"step", "epoch", "loss"}


@pytest.fixture
def with_a_broken_one(tmp_path):
    """A class folder, one of whose photos ends in the middle of its pixels."""
    root = class_folder(tmp_path / "photos", per_class=6)
    broken = tmp_path / "photos" / "sky" / "3.png"
    broken.write_bytes(broken.read_bytes()[:900])
    return root, str(broken)


def test_a_broken_photo_stops_the_training_and_leaves_nothing(with_a_broken_one, home):
    root, broken = with_a_broken_one
    with pytest.raises(DataError) as error:
        train(root)
    assert str(error.value) == (
        f"{broken}: the file is truncated (fix or remove it, or use on_bad_input: :skip)"
    )
    assert runs(home) == []


def test_a_broken_photo_is_left_out(with_a_broken_one):
    root, broken = with_a_broken_one
    model = train(root, on_bad_input="skip")
    assert sum(model.header.sizes.values()) == 17
    assert sum(model.state.label_counts) == model.header.sizes["train"]
    warning = f"left out 1 image that can't be decoded: {broken}: the file is truncated"
    assert warning in model.header.warnings


@pytest.mark.parametrize("stage", ["choose", "freeze", "head", "train", "fine_tune", "evaluate"])
def test_a_cancelled_training_can_be_resumed(few, home, stage):
    seen = []

    def listen(event):
        seen.append(event["step"] if event["event"] == "stage" else None)

    with pytest.raises(Cancelled) as cancelled:
        train(few, steps=TUNE, on_event=listen, cancelled=lambda: stage in seen)
    assert [path.name for path in runs(home)] == [cancelled.value.run]
    assert str(cancelled.value) == f"cancelled; the run {cancelled.value.run} can be resumed"
    assert [step for step in seen if step][-1] == stage


@pytest.mark.parametrize("what", ["run", "stage", "progress"])
def test_a_listener_that_fails_stops_the_training_and_leaves_nothing(few, home, what):
    def fail(event):
        if event["event"] == what:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(few, steps=TUNE, on_event=fail)
    assert runs(home) == []


def test_rows_that_fail_half_way_leave_nothing(home):
    def broken_off():
        yield from list(rows())[:10]
        raise KeyError("the database went away")

    with pytest.raises(KeyError):
        train(broken_off())
    assert runs(home) == []


def test_a_home_that_can_not_be_written_is_told_before_anything_is_done(monkeypatch):
    monkeypatch.setenv("TRANSFER_HOME", "/proc/transfer")
    with pytest.raises(ConfigurationError) as error:
        train("nowhere")
    assert str(error.value) == (
        "cannot create a directory for this training in /proc/transfer/runs: No such file or directory. "
        "Fix: set TRANSFER_HOME to a writable directory"
    )


def test_a_model_that_can_not_be_written_leaves_no_folder(few, home, monkeypatch):
    """A full disk, which a limit on the size of files stands for."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match="can't save to"):
            train(few)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert runs(home) == []


EVERYTHING = {
    "steps": [{"type": "freeze"}, {"type": "train", "optimizer": "adam", "epochs": 3}, *TUNE[2:]],
    "head": {"type": "mlp", "hidden": [8], "dropout": 0.2},
    "augment": ["flip", "crop", "color"],
}


def test_the_same_seed_gives_the_same_bytes(few, tmp_path, monkeypatch):
    def trained(home, seed):
        monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / home))
        return train(few, seed=seed, **EVERYTHING)

    first = trained("one", 1)
    # Where networks are timed anew, another precision may be found the faster one.
    measured = Path("cache") / "measurements.json"
    (tmp_path / "two" / "cache").mkdir(parents=True)
    shutil.copy(tmp_path / "one" / measured, tmp_path / "two" / measured)
    assert differing(first, trained("two", 1)) == []
    assert differing(first, trained("one", 1)) == []  # its features are known by now
    other = trained("one", 2)
    assert differing(first, other)
    assert first.header.metrics.keys() == other.header.metrics.keys()


@pytest.mark.parametrize("words", [{}, EVERYTHING], ids=["fast", "everything"])
def test_the_recipe_in_a_model_gives_the_model(few, words):
    first = train(few, seed=3, **words)
    again = five_steps.run(parse_recipe(first.header.recipe))
    assert again.header.recipe == first.header.recipe
    assert again.recipe == first.recipe
    assert differing(first, again) == []
    assert again.header.data_fingerprint == first.header.data_fingerprint
    assert again.metrics == first.metrics


def test_another_training_on_more_photos_computes_only_the_new(photos, few):
    train(few)
    told = []
    train(photos, on_event=told.append)
    done = [event for event in told if event["event"] == "progress" and event["step"] == "freeze"]
    embedded = [event["total"] for event in done if event["unit"] == "images"]
    shared = sum(
        Path(few, label, f"{i}.png").read_bytes() == Path(photos, label, f"{i}.png").read_bytes()
        for label in ("brick", "sky")
        for i in range(5)
    )
    assert shared > 0
    assert embedded[-1] == 24 - shared


def test_the_head_can_be_trained_once_more(few):
    steps = [{"type": "freeze"}, {"type": "train"}, {"type": "train", "epochs": 2}]
    model = train(few, steps=steps)
    changed = differing(train(few, steps=steps[:2]), model)
    assert any(name.startswith("head.") for name in changed)
    assert not model.header.backbone.fine_tuned
    published = transfer_core.backbones.load("mobilenet_v2")
    published = published.state_dict()
    assert all(torch.equal(t, published[name]) for name, t in model.backbone.state_dict().items())


def test_random_weights(few):
    model = train(few, weights="random")
    assert model.header.backbone.weights == "random"
    assert transfer_core.load(model.path).header == model.header


def test_no_temporary_folder_outlives_a_stream(home):
    train(rows(per_class=4), cancelled=lambda: False)
    assert os.listdir(tempfile.gettempdir()) == []


def test_progress_alone_will_do(few):
    told = []
    five_steps.run(parse_recipe({"data": few, "backbone": "mobilenet_v2"}), progress=Progress(told.append))
    assert {event["event"] for event in told} >= {"stage", "progress"}
