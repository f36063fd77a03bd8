"""The share of a training that is done, and its time left."""

import pytest

import transfer_core
from photos import class_folder
from transfer_core.runtime.overall_progress import ExpectedPhase, Overall

PHASES = [
    ExpectedPhase("choose", 10.0),
    ExpectedPhase("freeze", 40.0),
    ExpectedPhase("head", 0.0),
    ExpectedPhase("train", 10.0),
    ExpectedPhase("fine_tune", 30.0, epochs=3),
    ExpectedPhase("evaluate", 10.0),
]


def stage(step):
    return {"event": "stage", "step": step, "title": step}


def progress(done, total):
    return {"event": "progress", "step": "freeze", "done": done, "total": total, "unit": "images"}


def epoch(number, of):
    return {"event": "epoch", "step": "fine_tune", "number": number, "of": of, "metrics": {}}


@pytest.fixture
def overall():
    """Every event comes ten seconds after the one before."""
    times = iter(range(0, 10_000, 10))
    found = Overall(clock=lambda: next(times))
    found.expect(PHASES)
    return found


def test_shares_follow_the_expected_work(overall):
    events = [
        stage("freeze"),
        progress(20, 40),
        stage("head"),
        stage("train"),
        stage("fine_tune"),
        epoch(1, 3),
        progress(1, 2),
        epoch(3, 3),
        stage("evaluate"),
        progress(1, 1),
    ]
    shares = [overall.after(event)["share"] for event in events]
    assert shares == pytest.approx([0.1, 0.3, 0.5, 0.5, 0.6, 0.7, 0.75, 0.9, 0.9, 0.99])


def test_the_time_left_is_in_proportion(overall):
    overall.after(stage("freeze"))
    found = overall.after(progress(15, 40))  # 25 % after 20 s
    assert found == {"event": "overall", "share": pytest.approx(0.25), "seconds_left": pytest.approx(60)}


def test_the_share_never_falls(overall):
    overall.after(stage("freeze"))
    assert overall.after(progress(40, 40))["share"] == pytest.approx(0.5)
    assert overall.after(progress(1, 40))["share"] == pytest.approx(0.5)
    assert overall.after(stage("choose"))["share"] == pytest.approx(0.5)


def test_inputs_and_batches_before_the_first_epoch_ends_are_a_part_of_it(overall):
    overall.after(stage("fine_tune"))
    assert overall.after(progress(40, 40))["share"] == pytest.approx(0.7)
    assert overall.after({**progress(1, 8), "unit": "batches"})["share"] == pytest.approx(0.7)
    assert overall.after(epoch(1, 3))["share"] == pytest.approx(0.7)


def test_nothing_is_known_before_the_phases_are():
    assert Overall().after(stage("choose")) is None


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"steps": [{"type": "train"}, {"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 2}]},
        {"optimizer": "adam", "epochs": 3},
    ],
)
def test_a_training_tells_a_rising_share(tmp_path, words):
    events = []
    data = class_folder(tmp_path / "photos", per_class=6)
    transfer_core.train(backbone="mobilenet_v2", data=data, on_event=events.append, **words)
    shares = [event["share"] for event in events if event["event"] == "overall"]
    assert len(shares) >= 3
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= 0.6
    assert 0.8 <= shares[-1] < 1
    tuned = next((i for i, event in enumerate(events) if event.get("step") == "fine_tune"), None)
    if tuned is not None:
        first = next(i for i, event in enumerate(events[tuned:], tuned) if event["event"] == "epoch")
        assert max(event["share"] for event in events[:first] if event["event"] == "overall") < 0.8
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert len(warnings) == len(set(warnings))
