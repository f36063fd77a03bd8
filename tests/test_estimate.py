"""Estimates of trainings, through the public function."""

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
from PIL import Image

import transfer_core
from transfer_core.pipeline import estimate as estimating
from transfer_core.runs import list_runs
from transfer_core.runtime.errors import DataError, RecipeError

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
        ({"source": rows(20)}, RecipeError, "source: estimates are for trainings without a source"),
        ({"data": rows(1)}, DataError, "two classes"),
    ],
)
def test_what_cannot_be_estimated_is_explained(words, error, message):
    with pytest.raises(error, match=message):
        transfer_core.estimate(**{"backbone": "sklearn:StandardScaler", "data": rows(20), **words})
