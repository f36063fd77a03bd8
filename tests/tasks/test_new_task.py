"""A task that is one class and one registration, from training to the prediction of a loaded model."""

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LinearRegression

import transfer_core
from transfer_core.plan.checks import check_representation
from transfer_core.runtime.errors import ModelFileError, RecipeError
from transfer_core.tasks import TASKS
from transfer_core.tasks.regression import Regression, RegressionState


class LogState(RegressionState, frozen=True, kw_only=True, tag="log_regression"):
    """As a regression's, of logarithms."""


class LogRegression(Regression):
    """Numbers above 0 with a relative error: the logarithm is standardized."""

    name = "log_regression"
    state_type = LogState

    def recognize(self, labels):
        return None

    def fit(self, labels, train):
        logs = np.log(train.targets)
        return LogState(mean=tuple(logs.mean(axis=0).tolist()), scale=tuple(logs.std(axis=0).tolist()))

    def targets(self, dataset, state):
        logs = np.log(dataset.targets)
        return ((logs - np.array(state.mean)) / np.array(state.scale)).astype(np.float32)

    def decode(self, outputs, state):
        return np.exp(super().decode(outputs, state))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(TASKS, "log_regression", LogRegression())


def rows(count=160):
    """log y = 0.1 + 2 x, with x from 0 to 2."""
    x = np.linspace(0, 2, count)
    return [{"input": {"x": float(value)}, "label": float(np.exp(0.1 + 2 * value))} for value in x]


def train(**words):
    return transfer_core.train(backbone="sklearn:StandardScaler", data=rows(), seed=1, **words)


def test_it_is_trained_saved_loaded_and_measured(registered, tmp_path):
    model = train(task="log_regression")
    assert model.header.recipe["task"] == "log_regression"
    assert model.metrics["r2"] > 0.999
    path = model.save(tmp_path / "log.transfer")
    loaded = transfer_core.load(path)
    values = [row["value"] for row in loaded.predict([{"x": 0.5}, {"x": 1.5}])]
    x, y = np.array([(row["input"]["x"], row["label"]) for row in rows()]).T
    theirs = LinearRegression().fit(x[:, None], np.log(y)).predict([[0.5], [1.5]])
    assert values == pytest.approx(np.exp(theirs), rel=0.02)
    assert [row["value"] for row in model.predict([{"x": 0.5}, {"x": 1.5}])] == values
    # The curve is no line: a plain regression can't follow it.
    assert train(task="regression").metrics["r2"] < 0.95


def test_without_the_registration_it_is_unknown(registered, tmp_path, monkeypatch):
    path = train(task="log_regression").save(tmp_path / "log.transfer")
    monkeypatch.delitem(TASKS, "log_regression")
    with pytest.raises(ModelFileError, match=r'task: unknown task "log_regression" \(one of: '):
        transfer_core.load(path)
    with pytest.raises(RecipeError, match=r'task: unknown task "log_regression"'):
        train(task="log_regression")


def test_a_backbone_must_give_the_representation_that_it_needs(registered, monkeypatch):
    monkeypatch.setattr(LogRegression, "needs", "feature_maps")
    with pytest.raises(
        RecipeError, match=r"backbone: sklearn:StandardScaler gives pooled, .* Try: "
    ) as caught:
        train(task="log_regression")
    (problem,) = caught.value.problems
    named = problem.message.partition("Try: ")[2].split(", ")
    facts = [transfer_core.backbones.facts(name) for name in named]
    assert named
    for each in facts:
        check_representation(TASKS["log_regression"], each)


def test_a_state_in_contradiction_to_its_labels(registered):
    task = TASKS["log_regression"]
    state = LogState(mean=(0.0,), scale=(1.0,))
    assert list(state.problems(("y",))) == []
    assert list(replace(state, scale=()).problems(("y",))) == [
        "scale: expected 1 values, one for each output (got 0)"
    ]
    assert task.decode(np.zeros((1, 1)), state).tolist() == [[1.0]]
