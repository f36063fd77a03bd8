"""The search of a recipe within a budget, through the public function."""

import re

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment

import transfer_core
from transfer_core.pipeline import candidates
from transfer_core.pipeline import search as searching
from transfer_core.pipeline.frozen_trials import Trial
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
    model = transfer_core.train(backbone="auto", data=data, budget=600, on_event=events.append)
    plain = transfer_core.train(backbone="sklearn:StandardScaler", data=data)
    assert model.header.recipe["backbone"].startswith("sklearn:")
    assert model.header.recipe["split"]["measure"] == "test"
    assert model.header.sizes == plain.header.sizes
    assert model.metrics["accuracy"] >= plain.metrics["accuracy"] - 0.1
    titles = [event["title"] for event in events if event["event"] == "stage"]
    assert any(title.startswith("best of ") for title in titles)


def test_the_split_of_the_search_is_that_of_the_default(tmp_path):
    data, events = table(tmp_path / "rows.csv"), []
    model = transfer_core.train(backbone="auto", data=data, budget=600, on_event=events.append)
    assert len(list_runs()) == 1  # trials on frozen embeddings leave no run
    titles = [event["title"] for event in events if event["event"] == "stage"]
    first = next(title for title in titles if title.startswith("trial 1: "))
    assert first.startswith("trial 1: sklearn:StandardScaler")
    assert any("random_forest head: loss" in title for title in titles)
    assert model.header.data.measured == model.header.sizes["test"]


def trial(losses):
    return Trial("", None, None, np.asarray(losses, float)[:, None], 0.0)


def test_the_default_is_kept_unless_the_best_is_better_by_a_standard_error():
    rng = np.random.default_rng(0)
    default = rng.uniform(0, 1, 200)
    noise = rng.standard_normal(200)
    noise -= noise.mean()
    barely, clearly = default - 0.5 / np.sqrt(200) + noise, default - 1.5 / np.sqrt(200) + noise
    before, small, large = map(trial, (default, barely, clearly))
    assert searching.chosen_beside(before, small) is before
    assert searching.chosen_beside(before, large) is large


def test_losses_of_examples_that_were_not_held_out_are_ignored():
    assert trial([1.0, np.nan, 3.0]).loss == 2.0
    twice = Trial("", None, None, np.array([[1.0, 3.0], [np.nan, np.nan], [2.0, np.nan]]), 0.0)
    assert twice.by_example().tolist()[::2] == [2.0, 2.0]
    assert twice.by_example(1).tolist()[::2] == [1.0, 2.0]


def test_rows_can_be_searched_too():
    assert transfer_core.train(backbone="auto", data=rows(), budget=600, task="classification").labels == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"head": {"type": "mlp"}, "epochs": 3}, "head: is chosen by backbone :auto"),
        ({"backbone": "sklearn:StandardScaler", "budget": 600}, "budget: is for a search"),
    ],
)
def test_wrong_words_are_explained(words, message):
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(**{"backbone": "auto", "data": rows(), **words})


def test_a_budget_that_no_trial_fits_is_answered_with_one_that_does():
    with pytest.raises(RecipeError, match=r"budget: no trial ends within 0.01 s on this data") as raised:
        transfer_core.train(backbone="auto", data=rows(), budget=0.01, task="classification")
    assert int(re.search(r"Fix: budget: (\d+) or more", str(raised.value))[1]) >= 6


def test_no_candidate_and_a_single_class_are_explained(monkeypatch):
    single = [{**row, "label": "a"} for row in rows()]
    with pytest.raises(DataError, match="two classes"):
        transfer_core.train(backbone="auto", data=single, budget=600, task="classification")
    monkeypatch.setattr(candidates, "catalogue", lambda **_: [])
    monkeypatch.setattr(candidates, "_FITTED", {})
    with pytest.raises(RecipeError, match="backbone: no backbone for table inputs is on this machine"):
        transfer_core.train(backbone="auto", data=rows(), budget=600, task="classification")
