"""A training on pairs of texts that is killed and resumed gives the same model, bit by bit."""

import json
import signal

import pytest

from interrupting import Process, same
from tiny_translators import write_translator

pytestmark = [pytest.mark.slow, pytest.mark.extras]

STEPS = [
    {"type": "freeze"},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 3},
    {"type": "unfreeze", "all": True},
    {"type": "train", "epochs": 3, "batch_size": 8, "layer_decay": 0.8},
]
DEATHS = {
    "while it measures the untuned model": ({"event": "stage", "step": "freeze"}, 0),
    "after epoch 2 of the first phase": ({"event": "epoch", "number": 2}, 2),
    "before it measures": ({"event": "stage", "step": "evaluate"}, 6),
}


@pytest.fixture(scope="module")
def process():
    process = Process()
    yield process
    process.end()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_translator(folder / "bart", "bart")
    lines = [
        {"source": f"the cat {i} is in house {i % 7}", "target": f"gato {i} casa {i % 7}"} for i in range(60)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "task": "translation",
        "backbone": f"hf/{folder / 'bart'}",
        "data": str(folder / "pairs.jsonl"),
        "generation": {"max_length": 8},
        "steps": STEPS,
        "split": {"near_duplicates": False},
    }


@pytest.fixture(scope="module")
def uninterrupted(process, words, tmp_path_factory):
    status, result = process(tmp_path_factory.mktemp("uninterrupted"), words=words)
    assert status == 0
    return result["model"]


@pytest.mark.parametrize("death", DEATHS)
def test_killed(death, process, words, uninterrupted, home):
    when, epochs = DEATHS[death]
    home.mkdir(parents=True, exist_ok=True)
    assert process(home, words=words, die={"events": [when]}) == (-signal.SIGKILL, None)
    [run] = (home / "runs").iterdir()
    status, result = process(home, run=run.name)
    assert status == 0
    assert len(result["run"]["history"]) == epochs
    assert same(result["model"], uninterrupted)


def test_killed_in_the_second_phase(process, words, uninterrupted, home):
    home.mkdir(parents=True, exist_ok=True)
    epochs = [{"event": "epoch", "number": 3}, {"event": "epoch", "number": 1}]
    assert process(home, words=words, die={"events": epochs}) == (-signal.SIGKILL, None)
    [run] = (home / "runs").iterdir()
    status, result = process(home, run=run.name)
    assert status == 0
    assert len(result["run"]["history"]) == 4
    assert same(result["model"], uninterrupted)


def test_killed_while_adapters_train(process, words, home, tmp_path):
    lora = [{"type": "freeze"}, {"type": "lora", "rank": 4}, {"type": "train", "epochs": 3}]
    words = {**words, "steps": lora}
    whole = process(tmp_path, words=words)[1]["model"]
    home.mkdir(parents=True, exist_ok=True)
    died = process(home, words=words, die={"events": [{"event": "epoch", "number": 2}]})
    assert died == (-signal.SIGKILL, None)
    [run] = (home / "runs").iterdir()
    status, result = process(home, run=run.name)
    assert status == 0
    assert len(result["run"]["history"]) == 2
    assert same(result["model"], whole)
