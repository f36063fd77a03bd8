"""Fine-tuning of a preset replaces the frozen head only after a significant gain: whole trainings."""

import numpy as np
import pytest
import sklearn.linear_model  # noqa: F401  sets variables of the environment when it is imported

import transfer_core
from tiny_encoder import tiny_encoder
from transfer_core.model_file.format import read_model
from transfer_core.runtime.errors import Cancelled

pytestmark = pytest.mark.extras

WORDS = ["good", "bad", "fine", "awful", "train", "plane", "late", "early", "the", "a", "is", "was", "not"]
WORDS += ["very", "it", "we", "you", "."]
KEPT = "fine-tuning gained nothing; the frozen head was kept"


def votes(count, seed):
    """Texts of seven words, of which every other one of `WORDS` speaks for "pleased": more words than the
    frozen encoder has features."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = rng.integers(len(WORDS), size=7)
        label = "pleased" if (drawn % 2).sum() > 3 else "angry"
        yield {"input": " ".join(WORDS[i] for i in drawn), "label": label}


@pytest.fixture(scope="module")
def data():
    sizes = {"train": 240, "valid": 120, "test": 40}
    return [
        {**row, "split": part}
        for seed, (part, count) in enumerate(sizes.items())
        for row in votes(count, seed)
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def one_plan(monkeypatch):
    """Timing takes longer than everything else here."""
    from transfer_core.features import text
    from transfer_core.features.engines.choice import Choice

    monkeypatch.setattr(text, "choose", lambda *_: Choice("torch", "", "float32", 512))


def train(tiny, data, **words):
    return transfer_core.train(backbone=tiny, data=list(data), **words)


def tensors(model):
    return read_model(model.path)[1]


def same(first, second):
    return all(np.array_equal(value, tensors(second)[name]) for name, value in tensors(first).items())


@pytest.mark.parametrize("rate", [1e-12, 0.3])
def test_without_a_gain_the_result_is_that_of_fast(tiny, data, rate):
    fast = train(tiny, data)
    tuned = train(tiny, data, preset="balanced", learning_rate=rate, epochs=2)
    assert [entry["step"] for entry in tuned.history].count("fine_tune") == 2
    assert [step.__struct_config__.tag for step in tuned.recipe.steps] == [
        "freeze",
        "train",
        "unfreeze",
        "train",
    ]
    assert tuned.recipe.augment == ()
    assert KEPT in tuned.warnings
    assert same(tuned, fast)
    assert tuned.metrics == fast.metrics
    assert tuned.summary()["data"] == fast.summary()["data"]


GAINS = {"preset": "best", "learning_rate": 1e-2, "epochs": 5, "batch_size": 16, "early_stopping": 5}


def test_a_significant_gain_is_kept(tiny, data):
    tuned = train(tiny, data, **GAINS)
    assert tuned.header.backbone.fine_tuned
    assert KEPT not in tuned.warnings
    assert tuned.metrics["log_loss"] < train(tiny, data).metrics["log_loss"] - 0.05


@pytest.mark.parametrize("words", [GAINS, {"preset": "balanced", "epochs": 3, "learning_rate": 0.3}])
def test_a_resumed_training_decides_alike(tiny, data, words, monkeypatch):
    from transfer_core.runs import checkpoints

    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)
    whole = train(tiny, data, **words)
    events = []

    def two_epochs():
        return [event.get("step") for event in events if event["event"] == "epoch"].count("fine_tune") == 2

    with pytest.raises(Cancelled) as raised:
        train(tiny, data, on_event=events.append, cancelled=two_epochs, **words)
    resumed = transfer_core.resume(raised.value.run, data=list(data))
    assert same(resumed, whole)
    assert (resumed.history, resumed.metrics, resumed.recipe) == (whole.history, whole.metrics, whole.recipe)


def test_few_validation_examples_are_no_evidence(tiny, data):
    few = [row for row in data if row["split"] != "valid"]
    tuned = train(tiny, few, preset="best")
    (warning,) = [message for message in tuned.warnings if message.startswith("fine-tuning was left out")]
    assert "(100 are needed)" in warning
    assert [step.__struct_config__.tag for step in tuned.recipe.steps] == ["freeze", "train"]
    assert same(tuned, train(tiny, few))
