"""Estimates of trainings, through the public function."""

import sqlite3
from itertools import count

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
from PIL import Image

import transfer_core
from box_sets import SIGNS, row_boxes, write_photos
from tiny_backbone import tiny_backbone
from tiny_translators import SENTENCES, sentencepiece_model, write_translator
from transfer_core.pipeline import estimate as estimating
from transfer_core.pipeline import five_steps, pilot
from transfer_core.runs import list_runs
from transfer_core.runtime import paths
from transfer_core.runtime.errors import DataError, RecipeError

pytestmark = pytest.mark.slow

STEPS = ["choose", "freeze", "head", "train", "fine_tune", "evaluate"]


def rows(count):
    rng = np.random.default_rng(0)
    return [
        {
            "input": {"x": float(k + rng.standard_normal()), "y": float(rng.standard_normal())},
            "label": "ab"[k],
        }
        for k in np.arange(count) % 2
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(36):
        place = folder / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(place)
    return str(folder)


def test_a_table_has_all_steps_and_leaves_no_run():
    before = len(list_runs())
    found = transfer_core.estimate(backbone="sklearn:StandardScaler", data=rows(200))
    assert [step.step for step in found.steps] == STEPS
    assert found.examples == 200
    assert found.seconds == pytest.approx(sum(step.seconds for step in found.steps))
    assert found.memory == max(step.memory for step in found.steps)
    assert found.steps[4].seconds == 0
    assert found.warnings == ()
    assert found.memory < found.available_memory
    assert len(list_runs()) == before


def test_fine_tuning_takes_time_and_cached_embeddings_take_none(photos):
    words = {"backbone": "squeezenet1_1", "weights": "random", "data": photos}
    tuning = [{"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 300}]
    tuned = transfer_core.estimate(**words, steps=[{"type": "freeze"}, {"type": "train"}, *tuning])
    assert tuned.steps[4].seconds > 10 * tuned.steps[3].seconds
    assert tuned.steps[4].disk > 1e6
    model = transfer_core.train(**words)
    known = transfer_core.estimate(**words)
    assert known.steps[1].seconds == 0
    assert known.steps[4].seconds == 0
    assert known.steps[5].disk == pytest.approx(model.path.stat().st_size, rel=0.05)


def test_too_little_memory_and_disk_space_are_warnings(monkeypatch):
    monkeypatch.setattr(estimating, "machine_memory", lambda: (0, -(10**12)))
    monkeypatch.setattr(estimating.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    found = transfer_core.estimate(backbone="sklearn:StandardScaler", data=rows(60))
    memory, disk = found.warnings
    assert "of memory" in memory
    assert "Fix: a smaller batch_size" in memory
    assert "of disk space" in disk


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"backbone": "auto"}, RecipeError, "backbone: auto takes its budget"),
        ({"data": rows(1)}, DataError, "two classes"),
    ],
)
def test_what_cannot_be_estimated_is_explained(words, error, message):
    with pytest.raises(error, match=message):
        transfer_core.estimate(**{"backbone": "sklearn:StandardScaler", "data": rows(20), **words})


@pytest.fixture
def ticking(monkeypatch):
    """A clock that advances by a second each time that it is read."""
    monkeypatch.setattr(pilot, "monotonic", count().__next__)


def seconds(found, step):
    return next(one.seconds for one in found.steps if one.step == step)


def disk(found, step):
    return next(one.disk for one in found.steps if one.step == step)


@pytest.fixture
def signs(monkeypatch, tmp_path):
    """A function from a number to parts of that many training photos with boxes, half as many for validation
    and a quarter for the test; a small network in place of every backbone, and an empty cache."""
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    monkeypatch.setattr(estimating, "open_backbone", lambda *_: None)
    monkeypatch.setattr(five_steps, "describe", lambda *_: tiny_backbone().facts)

    def parts(train):
        sizes = {"train": train, "valid": train // 2, "test": train // 4}
        boxes = [row_boxes(own) for own in SIGNS.values()]
        names = {part: [f"{part}{n}.png" for n in range(size)] for part, size in sizes.items()}
        for some in names.values():
            write_photos(tmp_path, some)
        return {
            part: [{"input": str(tmp_path / name), "boxes": boxes[n % 14]} for n, name in enumerate(some)]
            for part, some in names.items()
        }

    return parts


def detection(data, epochs=2):
    tuning = [{"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 3}]
    return {
        "backbone": "mobilenet_v2",
        "data": data,
        "task": "detection",
        "image_size": 96,
        "head": {"type": "fcos", "channels": 32, "layers": 1},
        "steps": [{"type": "freeze"}, {"type": "train", "epochs": epochs, "batch_size": 4}, *tuning],
        "split": {"near_duplicates": False},
    }


def test_detection_grows_with_epochs_and_examples(signs, ticking):
    some, more = (transfer_core.estimate(**detection(signs(20), epochs)) for epochs in (10, 110))
    assert [step.step for step in some.steps] == STEPS
    assert (some.task, some.examples) == ("detection", 35)
    assert seconds(more, "train") == pytest.approx(11 * seconds(some, "train"))
    assert seconds(more, "train") > 100
    assert seconds(more, "fine_tune") == pytest.approx(seconds(some, "fine_tune"))
    twice = transfer_core.estimate(**detection(signs(40), 110))
    assert seconds(twice, "train") == pytest.approx(2 * seconds(more, "train"))


def test_detection_is_estimated_with_the_room_that_its_training_takes(signs):
    words = detection(signs(20))
    before = transfer_core.estimate(**words)
    count_before, bytes_before = cached()
    model = transfer_core.train(**words)
    count_after, bytes_after = cached()
    after = transfer_core.estimate(**words)
    added = bytes_after - bytes_before + pilot.ROW * (count_after - count_before)
    assert added > 0
    maps = [sum(disk(found, step) for step in ("freeze", "fine_tune")) for found in (before, after)]
    assert maps[0] - maps[1] == added
    assert disk(before, "evaluate") == pytest.approx(model.path.stat().st_size, rel=0.05)


def cached():
    """Number and bytes of the rows in the cache of features."""
    with sqlite3.connect(paths.cache() / "features.sqlite") as db:
        return db.execute("SELECT count(*), sum(length(content)) FROM rows").fetchone()


@pytest.mark.extras
def test_a_translation_grows_with_epochs_and_its_states_take_room(tmp_path, ticking):
    import sentencepiece

    write_translator(tmp_path, "marian")

    def estimated(epochs, copies):
        rows = [{"input": f"{text} {n}", "label": text} for n in range(copies) for text in SENTENCES]
        data = {"train": rows[: -3 * copies], "valid": rows[-3 * copies : -copies], "test": rows[-copies:]}
        encoder = {"type": "freeze", "blocks": ["embeddings", "encoder_0", "encoder_1"]}
        found = transfer_core.estimate(
            backbone=f"hf/{tmp_path}",
            task="translation",
            data=data,
            generation={"max_length": 8},
            split={"near_duplicates": False},
            steps=[encoder, {"type": "train", "epochs": epochs}],
        )
        return found, [row["input"] for row in rows[:-copies]]

    (some, sources), (more, _) = (estimated(epochs, 8) for epochs in (10, 110))
    assert [step.step for step in some.steps] == STEPS
    assert (some.task, some.examples) == ("translation", 88)
    assert seconds(more, "fine_tune") == pytest.approx(11 * seconds(some, "fine_tune"))
    assert seconds(more, "fine_tune") > 100
    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    tokens = sum(len(pieces.encode(source)) + 1 for source in sources)  # with the end of the text
    states = disk(some, "fine_tune") - pilot.CHECKPOINT * disk(some, "evaluate")
    assert states == tokens * 16 * 2  # of 16 values in half precision
    twice, _ = estimated(10, 16)
    assert seconds(twice, "fine_tune") > 1.8 * seconds(some, "fine_tune")


@pytest.mark.parametrize("adapt", ["coral", "auto"])
def test_adaptation_grows_with_the_examples_of_both_domains(ticking, adapt):
    def estimated(source, target):
        data = {"train": rows(target), "test": rows(30)}
        return transfer_core.estimate(
            backbone="sklearn:StandardScaler", data=data, source=rows(source), adapt=adapt
        )

    some, more = estimated(900, 300), estimated(1800, 600)
    assert [step.step for step in some.steps] == STEPS
    assert some.warnings == ()
    assert seconds(more, "train") == pytest.approx(2 * seconds(some, "train"), rel=0.05)
    assert disk(more, "freeze") > 1.8 * disk(some, "freeze")
