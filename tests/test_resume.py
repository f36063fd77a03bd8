"""Trainings that are killed and resumed, beside one that nothing happened to."""

import shutil
import signal
from functools import partial

import pytest

from interrupting import Process, same
from photos import class_folder

pytestmark = pytest.mark.slow

# All that can be in a phase: dropout, random views, warm-up, a head trained again on other embeddings.
STEPS = [
    {"type": "freeze"},
    {"type": "train", "epochs": 3, "optimizer": "adam"},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 3, "batch_size": 8, "layer_decay": 0.7},
    {"type": "freeze"},
    {"type": "train", "epochs": 2, "optimizer": "sgd"},
    {"type": "unfreeze", "last": 1},
    {"type": "train", "epochs": 2, "batch_size": 8, "optimizer": "adam"},
]
EPOCHS = 10


def event(name, step=None, number=None):
    said = {"event": name, "step": step, "number": number}
    return {word: value for word, value in said.items() if value is not None}


def at(*arguments, times=1):
    return {"events": [event(*arguments)] * times}


# When it dies, and how many epochs it need not train again.
DEATHS = {
    "at once": (at("run"), 0),
    "while it embeds": (at("progress", "freeze"), 0),
    "before the head": (at("stage", "head"), 0),
    "after epoch 2 of the head": (at("epoch", "train", 2), 2),
    "before fine-tuning": (at("stage", "fine_tune"), 3),
    "after epoch 1 of fine-tuning": (at("epoch", "fine_tune", 1), 4),
    "within epoch 2 of fine-tuning": ({"events": [event("epoch", "fine_tune", 1), event("progress")]}, 4),
    "before the head once more": (at("stage", "train", times=2), 6),
    "after epoch 1 of the head once more": (at("epoch", "train", 1, times=2), 7),
    "after epoch 1 of fine-tuning once more": (at("epoch", "fine_tune", 1, times=2), 9),
    "before it measures": (at("stage", "evaluate"), 10),
    "while it writes checkpoint 5": ({"in": "half-written checkpoint", "at": 5}, 4),
    "before checkpoint 6 has its name": ({"in": "checkpoint not yet renamed", "at": 2 + 5 + 1}, 5),
    "before it has tidied up": ({"in": "model written"}, None),
}
# These with MobileNetV2, the others with a network that is fast.
REAL = ["while it embeds", "within epoch 2 of fine-tuning", "before it measures", "before it has tidied up"]


@pytest.fixture(scope="module")
def process():
    process = Process()
    yield process
    process.end()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return {
        "data": class_folder(tmp_path_factory.mktemp("photos"), per_class=6),
        "backbone": "mobilenet_v2",
        "augment": ["flip", "noise", "rand_augment", "mixup", "cutmix"],
        "head": {"type": "linear", "dropout": 0.3},
        "steps": STEPS,
        "split": {"test": 0.2, "valid": 0.2},
    }


@pytest.fixture(scope="module")
def network(request):
    """`tiny`, a network of three blocks, or a real one."""
    return request.param


@pytest.fixture(scope="module")
def job(process, network):
    return partial(process, tiny=network == "tiny")


@pytest.fixture(scope="module")
def uninterrupted(job, words, tmp_path_factory):
    """The home of a training that nothing happened to, and its model."""
    home = tmp_path_factory.mktemp("uninterrupted")
    status, result = job(home, words=words)
    assert status == 0
    return home, result["model"]


@pytest.fixture
def home(home, uninterrupted):
    """One that knows what was measured of this machine; what was embedded is computed again."""
    (home / "cache").mkdir(parents=True)
    if (uninterrupted[0] / "cache/measurements.json").exists():
        shutil.copy(uninterrupted[0] / "cache/measurements.json", home / "cache")
    return home


def only_run(home):
    [run] = (home / "runs").iterdir()
    return run


@pytest.mark.parametrize("network", ["tiny"], indirect=True)
@pytest.mark.parametrize("death", [death for death in DEATHS if death not in REAL])
def test_killed(death, job, words, uninterrupted, home):
    killed_and_resumed(death, job, words, uninterrupted, home)


@pytest.mark.parametrize("network", ["tiny"], indirect=True)
def test_killed_again_and_again(job, words, uninterrupted, home):
    shutil.copytree(uninterrupted[0] / "cache", home / "cache", dirs_exist_ok=True)
    death = at("epoch")
    assert job(home, words=words, die=death) == (-signal.SIGKILL, None)
    run = only_run(home)
    lives = 1
    while (died := job(home, run=run.name, die=death))[0] == -signal.SIGKILL:
        lives += 1
    assert (died[0], lives) == (0, EPOCHS)
    assert same(died[1]["model"], uninterrupted[1])


@pytest.mark.parametrize("network", ["MobileNetV2"], indirect=True)
@pytest.mark.parametrize("death", REAL)
def test_a_real_network_is_killed(death, job, words, uninterrupted, home):
    killed_and_resumed(death, job, words, uninterrupted, home)


def killed_and_resumed(death, job, words, uninterrupted, home):
    when, epochs = DEATHS[death]
    if death != "while it embeds":
        shutil.copytree(uninterrupted[0] / "cache", home / "cache", dirs_exist_ok=True)
    assert job(home, words=words, die=when) == (-signal.SIGKILL, None)
    run = only_run(home)
    status, result = job(home, run=run.name)
    assert status == 0
    assert same(result["model"], uninterrupted[1])
    assert {path.name for path in run.iterdir()} == {"model.transfer", "report.html"}
    if epochs is None:
        assert result["run"] is None  # it had its model already
    else:
        assert len(result["run"]["history"]) == epochs
