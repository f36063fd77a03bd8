"""The search of a recipe within a budget, through the public function."""

import time

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment

import transfer_core
from transfer_core.pipeline import candidates
from transfer_core.pipeline import search as searching
from transfer_core.runs import list_runs
from transfer_core.runtime.errors import DataError, RecipeError

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.extras


def rows(count=120, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "input": {"x": float(k + 0.6 * rng.standard_normal()), "y": float(rng.standard_normal())},
            "label": "ab"[k],
        }
        for k in (np.arange(count) % 2)
    ]


def table(path, count=120):
    lines = [f"{row['input']['x']},{row['input']['y']},{row['label']}" for row in rows(count)]
    path.write_text("x,y,label\n" + "\n".join(lines))
    return str(path)


def test_the_best_trial_is_trained_on_everything_and_measured_once(tmp_path):
    events = []
    data = table(tmp_path / "rows.csv")
    began = time.monotonic()
    model = transfer_core.train(backbone="auto", data=data, budget=60, on_event=events.append)
    plain = transfer_core.train(backbone="sklearn:StandardScaler", data=data)
    assert time.monotonic() - began < 120
    assert model.header.recipe["backbone"].startswith("sklearn:")
    assert model.header.recipe["split"]["measure"] == "test"
    assert model.header.sizes == plain.header.sizes
    assert model.metrics["accuracy"] >= plain.metrics["accuracy"] - 0.1
    titles = [event["title"] for event in events if event["event"] == "stage"]
    assert any(title.startswith("best of ") for title in titles)


def test_every_trial_is_a_run_that_never_saw_the_test_part(tmp_path):
    model = transfer_core.train(backbone="auto", data=table(tmp_path / "rows.csv"), budget=60)
    trials = [run for run in list_runs() if run["recipe"]["split"]["measure"] == "valid"]
    assert len(trials) >= 2
    assert all(run["status"] == "finished" for run in trials)
    trial = transfer_core.load(trials[0]["path"] + "/model.transfer")
    parts = {part.name: part.examples for part in trial.header.data.parts}
    assert parts["reserved"] == model.header.sizes["test"]
    assert trial.header.sizes["test"] == model.header.sizes["valid"]


def test_rows_can_be_searched_too():
    assert transfer_core.train(backbone="auto", data=rows(), budget=60, task="classification").labels == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"budget": 1}, "budget: one trial takes about"),
        ({"head": {"type": "mlp"}, "epochs": 3}, "head: is chosen by backbone :auto"),
        ({"backbone": "sklearn:StandardScaler", "budget": 60}, "budget: is for a search"),
    ],
)
def test_wrong_words_are_explained(words, message):
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(**{"backbone": "auto", "data": rows(), **words})


def test_a_budget_that_no_trial_fits_is_answered_with_one_that_does(monkeypatch):
    monkeypatch.setattr(searching, "_LEAST_BUDGET", 0.0)
    with pytest.raises(RecipeError, match=r"budget: no trial ends within 0.01 s .* Fix: budget: 1 or more"):
        transfer_core.train(backbone="auto", data=rows(), budget=0.01, task="classification")


def test_no_candidate_and_a_single_class_are_explained(monkeypatch):
    single = [{**row, "label": "a"} for row in rows()]
    with pytest.raises(DataError, match="two classes"):
        transfer_core.train(backbone="auto", data=single, budget=60, task="classification")
    monkeypatch.setattr(candidates, "catalogue", lambda **_: [])
    monkeypatch.setattr(candidates, "_FITTED", {})
    with pytest.raises(RecipeError, match="backbone: no backbone for table inputs is on this machine"):
        transfer_core.train(backbone="auto", data=rows(), budget=60, task="classification")
