"""Trials of a search that fine-tune a backbone, through the public functions, with a tiny network."""

from dataclasses import dataclass

import numpy as np
import pytest
import sklearn.svm  # noqa: F401  its first import changes the environment
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from torch.optim.optimizer import register_optimizer_step_post_hook

import transfer_core
from tiny_backbone import tiny_backbone, tiny_facts
from transfer_core import backbones
from transfer_core.pipeline import estimate as estimating
from transfer_core.pipeline import fine_tuning_trials, five_steps
from transfer_core.pipeline import search as searching
from transfer_core.pipeline.candidates import Candidate
from transfer_core.runs import list_runs
from transfer_core.runtime.errors import Cancelled

pytestmark = pytest.mark.extras

SIZES = {"train": 120, "valid": 104, "test": 24}
PROPOSAL = {"backbone": 0, "last": 8, "learning_rate": 1e-3, "flips": False}


class OneTrial(searching.Clock):
    """A clock on which time is up after the first trial that fine-tunes."""

    @property
    def left(self):
        return 0.0 if any(run["status"] == "finished" for run in list_runs()) else 1000.0


def blind(seed=0):
    """A tiny network that can't tell a picture from its transpose: its kernels are constant."""
    network = tiny_backbone(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.mean((2, 3), keepdim=True).expand_as(module.weight))
    return network


def striped(rng, label):
    """Stripes across (0) or along (1), one of twelve with the wrong label."""
    return 128 + 60 * (np.indices((20, 20))[label ^ (rng.random() < 1 / 12)] // 2 % 2)


def shaded(rng, label):
    """Dark (0) or bright (1) squares, one of six with the wrong label."""
    return np.full((20, 20), (90, 160)[label ^ (rng.random() < 1 / 6)])


def folder(root, picture):
    rng = np.random.default_rng(0)
    for part, count in SIZES.items():
        for number in range(count):
            label = number % 2
            pixels = picture(rng, label)[..., None] + rng.normal(0, 30, (20, 20, 3))
            place = root / part / "ab"[label] / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place)
    return root


@dataclass
class Search:
    """A finished search: its model, that of the trial that fine-tuned, and the losses that it compared."""

    photos: object
    model: object
    trial: object
    titles: list
    before: np.ndarray
    after: np.ndarray
    p_value: float


@pytest.fixture(autouse=True)
def network(monkeypatch):
    facts = tiny_facts()
    for module in (five_steps, estimating):
        monkeypatch.setattr(module, "open_backbone", lambda *_: blind())
    monkeypatch.setattr(backbones, "load", lambda *_: blind())
    monkeypatch.setattr(five_steps, "describe", lambda *_: facts)
    monkeypatch.setattr(searching, "candidates_for", lambda _: [Candidate(facts, "pretrained", "BSD")])
    usual = fine_tuning_trials.new_study

    def new_study(seed):
        study = usual(seed)
        study.enqueue_trial(PROPOSAL)
        return study

    monkeypatch.setattr(fine_tuning_trials, "new_study", new_study)
    monkeypatch.setattr(searching, "Clock", OneTrial)


def train(photos, events, **words):
    split = {"near_duplicates": False}
    return transfer_core.train(
        backbone="auto", data=str(photos), split=split, on_event=events.append, **words
    )


def searched(photos, monkeypatch):
    compared, trained, events = [], [], []
    usual, run = fine_tuning_trials.gain_p_value, five_steps.run

    def compare(before, after, seed):
        compared.extend((before, after, usual(before, after, seed)))
        return compared[-1]

    def watched(recipe, streams, progress):
        progress.warning(f"of run {len(trained)}")  # those of a trial are not for the user
        trained.append(run(recipe, streams, progress))
        return trained[-1]

    monkeypatch.setattr(fine_tuning_trials, "gain_p_value", compare)
    monkeypatch.setattr(five_steps, "run", watched)
    model = train(photos, events)
    titles = [event["title"] for event in events if event["event"] == "stage"]
    assert len(trained) == 2  # one trial, and the final training
    assert len(list_runs()) == 2
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert [message for message in warnings if message.startswith("of run ")] == ["of run 1"]
    return Search(photos, model, trained[0], titles, *compared)


def check_trial(found):
    """The trial is a run, measured on the validation part alone."""
    ids = {run["id"] for run in list_runs()}
    assert {found.trial.path.parent.name, found.model.path.parent.name} == ids
    sizes = found.trial.header.sizes
    assert (sizes["train"] + sizes["valid"], sizes["test"]) == (SIZES["train"], SIZES["valid"])
    assert found.trial.header.recipe["split"]["measure"] == "valid"
    paths = sorted(found.photos.glob("valid/*/*.png"))
    scores = [prediction["scores"] for prediction in found.trial.predict([str(path) for path in paths])]
    log = np.log([[one["a"], one["b"]] for one in scores])
    truth = np.array(["ab".index(path.parent.name) for path in paths])

    def losses(temperature):
        scaled = log / temperature
        return np.logaddexp(*scaled.T) - scaled[np.arange(len(truth)), truth]

    best = minimize_scalar(lambda t: losses(np.exp(t)).mean(), bounds=(-4, 4), method="bounded").x
    np.testing.assert_allclose(np.sort(found.after), np.sort(losses(np.exp(best))), atol=2e-3)
    assert found.before.shape == found.after.shape == (SIZES["valid"],)
    assert found.model.header.sizes["test"] == SIZES["test"]
    assert sum(title.startswith("trial: tiny, last 3 blocks, rate 0.001") for title in found.titles) == 1


def test_a_trial_that_gains_is_the_recipe_of_the_final_model(tmp_path, monkeypatch):
    found = searched(folder(tmp_path / "striped", striped), monkeypatch)
    check_trial(found)
    assert found.before.mean() > 0.65  # guesses: the frozen network has no information
    assert found.after.mean() < 0.5
    assert found.p_value < 0.01
    assert found.titles.count("best of 3 trials: tiny, last 3 blocks, rate 0.001") == 1
    header = found.model.header
    assert header.backbone.fine_tuned
    assert header.recipe["steps"] == found.trial.header.recipe["steps"]
    assert header.recipe["split"]["measure"] == "test"
    assert header.sizes["train"] + header.sizes["valid"] == SIZES["train"] + SIZES["valid"]
    assert found.model.metrics["accuracy"] > 0.8


def test_a_trial_without_a_gain_leaves_the_frozen_head(tmp_path, monkeypatch):
    found = searched(folder(tmp_path / "shaded", shaded), monkeypatch)
    check_trial(found)
    assert found.p_value > 0.05
    # The examples with wrong labels cost both models most: the losses are of the same examples.
    assert np.corrcoef(found.before, found.after)[0, 1] > 0.9
    assert any(title.startswith("best of 3 trials: tiny, ") for title in found.titles)
    assert not found.model.header.backbone.fine_tuned
    assert len([step for step in found.model.header.recipe["steps"] if step["type"] == "train"]) == 1


def test_a_cancelled_trial_stops_after_its_batch(tmp_path):
    photos, events, batches = folder(tmp_path / "striped", striped), [], []

    def in_trial():
        return any(event["event"] == "stage" and event["title"].startswith("trial: ") for event in events)

    counter = register_optimizer_step_post_hook(lambda *_: batches.append(1) if in_trial() else None)
    try:
        with pytest.raises(Cancelled):
            train(photos, events, cancelled=lambda: len(batches) >= 2)
    finally:
        counter.remove()
    assert len(batches) == 2
    assert [run["status"] for run in list_runs()] == ["interrupted"]
