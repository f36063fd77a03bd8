"""Fine-tuning by two processes, compared with one process and the same batches."""

import copy
import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import several_jobs
import transfer_core
from photos import class_folder, save
from processes import children
from tiny_backbone import WIDTH, tiny_backbone, tiny_facts
from transfer_core import backbones
from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.distributed.launch import run_in_processes
from transfer_core.finetune import Examples, fine_tune
from transfer_core.finetune.near_published import copied, l2_sp
from transfer_core.model_file.format import read_model
from transfer_core.pipeline import five_steps
from transfer_core.plan.phases import Phase
from transfer_core.recipe.augmentations import Flip, MixUp
from transfer_core.recipe.relations import L2Sp
from transfer_core.recipe.steps import Lora, Train
from transfer_core.runs import checkpoints
from transfer_core.runtime.devices import Device, Machine
from transfer_core.runtime.errors import Cancelled, ConfigurationError, DataError, Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

pytestmark = [pytest.mark.slow, pytest.mark.extras]

TESTS = str(Path(__file__).parents[1])
STEP = Train(
    epochs=3,
    optimizer="adamw",
    learning_rate=1e-2,
    weight_decay=1e-2,
    batch_size=32,
    schedule="cosine",
    warmup=0.0,
    early_stopping=0,
)
BLOCKS = ("stem", "middle", "last")


@pytest.fixture(scope="module")
def peft():
    """Without the variables that importing it sets."""
    environment = dict(os.environ)
    import peft

    os.environ.clear()
    os.environ.update(environment)
    return peft


@pytest.fixture
def on_path(monkeypatch):
    """The processes import `several_jobs`."""
    monkeypatch.setenv("PYTHONPATH", TESTS)


def examples_in(folder, count, first=0, weights=None, cells=None):
    noise = [np.random.default_rng(first + i).integers(0, 256, (20, 20, 3)) for i in range(count)]
    paths = [save(folder / f"{first + i}.png", array.astype(np.uint8)) for i, array in enumerate(noise)]
    digests = tuple(f"{first + i:064x}" for i in range(count))
    targets = torch.arange(count) % 2
    weights = torch.ones(count) if weights is None else weights
    return Examples(Dataset(tuple(paths), digests, targets.numpy()), targets, weights, cells)


def dense_backbone():
    """With a dense layer, beside which there can be adapters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        blocks = {
            "stem": stem,
            "middle": nn.Linear(4, 8),
            "last": nn.Sequential(nn.ReLU(), nn.Linear(8, WIDTH)),
        }
        return Backbone(tiny_facts(), blocks, nn.Identity()).eval()


@pytest.fixture
def jobs(tmp_path, peft):
    """Jobs by name; 45 examples are a batch of 32 and one of 13, and 5 validation examples no even number."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = nn.Sequential(nn.Dropout(0.3), nn.Linear(WIDTH, 2))
    common = {
        "examples": examples_in(tmp_path, 45),
        "valid": examples_in(tmp_path, 5, first=100),
        "augmentations": (),
        "machine": Machine(Device("cpu"), "float32"),
        "criterion": CrossEntropy(),
        "seed": 5,
    }
    # Parts of batches have no weight at all.
    rare = torch.zeros(45).index_fill(0, torch.arange(0, 45, 5), 2.0)
    cells = [np.arange(count) % 3 - (np.arange(count) % 7 == 0) for count in (45, 5)]
    of = {
        "all blocks": {},
        "last block, L2-SP": {"phase": Phase(STEP, ("last",))},
        "views, MixUp": {"augmentations": (Flip(), MixUp())},
        "weights": {"examples": examples_in(tmp_path, 45, weights=rare)},
        "group DRO": {
            "examples": examples_in(tmp_path, 45, cells=cells[0]),
            "valid": examples_in(tmp_path, 5, first=100, cells=cells[1]),
        },
        "LoRA": {"backbone": dense_backbone(), "phase": Phase(STEP, (), Lora(rank=2))},
    }
    jobs = {
        name: {"backbone": tiny_backbone(), "head": head, "phase": Phase(STEP, BLOCKS), **common, **words}
        for name, words in of.items()
    }
    copies = copy.deepcopy(jobs)
    for job in copies.values():
        published = job["backbone"]
        if job["phase"].trainable == ("last",):
            job["penalty"] = l2_sp(published, job["head"], copied(published), L2Sp())
    return copies


def test_two_processes_train_as_one(jobs, on_path):
    names = [*jobs, "all blocks"]
    work = partial(several_jobs.fine_tuned, [jobs[name] for name in names])
    results = run_in_processes(2, work, Progress())
    for name, (history, blocks, head) in zip(names[:-1], results[:-1], strict=True):
        job = jobs[name]
        expected = fine_tune(**job, progress=Progress())
        assert [entry["epoch"] for entry in history] == [1, 2, 3]
        for measured in ("loss", "validation_loss"):
            losses = [[entry[measured] for entry in entries] for entries in (history, expected)]
            assert losses[0] == pytest.approx(losses[1], rel=1e-5), name
        trained = {**job["backbone"].state_dict(), **job["head"].state_dict()}
        for tensor, value in {**blocks, **head}.items():
            assert torch.allclose(value, trained[tensor], atol=1e-4), (name, tensor)


def test_the_same_bits_from_the_same_seed_and_number_of_processes(jobs, on_path):
    job = jobs["views, MixUp"]
    run = partial(several_jobs.fine_tuned, [job, copy.deepcopy(job)])
    first, second = run_in_processes(2, run, Progress())
    assert first[0] == second[0]
    for one, other in zip(first[1:], second[1:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


ERRORS = {
    "data": DataError("photo.png is missing", "photo.png"),
    "recipe": RecipeError([Problem("train", "the loss became nan")]),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_one_process_is_raised(kind, on_path):
    error = ERRORS[kind]
    with pytest.raises(type(error), match=str(error)) as raised:
        run_in_processes(2, partial(several_jobs.failing, error), Progress())
    assert raised.value.details == error.details


def test_a_bug_in_one_process_is_raised_with_its_traceback(on_path):
    with pytest.raises(RuntimeError, match=r"(?s)several_jobs.*ZeroDivisionError: a bug"):
        run_in_processes(2, partial(several_jobs.failing, ZeroDivisionError("a bug")), Progress())


# Trainings through the public interface.

WORDS = {
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 1},
        {"type": "train", "epochs": 4, "batch_size": 8},
    ],
    "augment": ["flip"],
    "head": {"type": "linear", "dropout": 0.3},
    "device": "cpu",
}


@pytest.fixture
def tiny_network(monkeypatch):
    facts = tiny_facts()

    def restore(name, tensors, *_):
        network = tiny_backbone()
        network.load_state_dict(tensors)
        return network

    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    monkeypatch.setattr(five_steps, "describe", lambda *_: facts)
    monkeypatch.setattr(backbones, "facts", lambda *_: facts)
    monkeypatch.setattr(backbones, "restore", restore)
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)


@pytest.fixture
def photos(tmp_path):
    return class_folder(tmp_path / "photos", per_class=6)


def group():
    """Ids of the processes that train, in order."""
    pids = sorted(map(int, children()))
    module = b"transfer_core.distributed.process"
    return [pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_bytes()]


def trained(photos, listener=lambda event: None, **words):
    events = []

    def listen(event):
        events.append(event)
        listener(event)

    model = transfer_core.train(backbone="mobilenet_v2", data=photos, on_event=listen, **WORDS, **words)
    return model, events


def tensors_of(model):
    return read_model(model.path)[1]


def fine_tuned_epochs(events):
    return [e["number"] for e in events if e["event"] == "epoch" and e["step"] == "fine_tune"]


def is_epoch(event, number):
    return event["event"] == "epoch" and event["step"] == "fine_tune" and event["number"] == number


def test_a_killed_process_costs_no_result(photos, tiny_network):
    alone, _ = trained(photos)
    undisturbed, events = trained(photos, processes=2)
    assert fine_tuned_epochs(events) == [1, 2, 3, 4]
    losses = [[entry["loss"] for entry in model.history] for model in (alone, undisturbed) if model]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    killed = []

    def kill(event):
        if is_epoch(event, 2) and not killed:
            killed.extend(group())
            os.kill(killed[1], signal.SIGKILL)

    disturbed, events = trained(photos, kill, processes=2)
    assert len(killed) == 2
    epochs = fine_tuned_epochs(events)
    assert epochs[:2] == [1, 2]
    assert epochs[-1] == 4
    assert epochs.count(1) == 1, "it began again, instead of at the checkpoint"
    [warning] = [e["message"] for e in events if e["event"] == "warning" and "process" in e["message"]]
    assert warning.startswith("process 2 of 2 ended (signal 9, Killed)")
    whole, other = tensors_of(undisturbed), tensors_of(disturbed)
    assert whole.keys() == other.keys()
    assert all(np.array_equal(whole[name], other[name]) for name in whole)
    assert not group()


def test_cancelling_ends_all_processes(photos, tiny_network):
    seen = []
    with pytest.raises(Cancelled) as error:
        transfer_core.train(
            backbone="mobilenet_v2",
            data=photos,
            **WORDS,
            processes=2,
            on_event=lambda event: is_epoch(event, 1) and seen.extend(group()),
            cancelled=lambda: bool(seen),
        )
    assert error.value.run
    assert len(seen) == 2
    assert not group()


def test_processes_end_with_their_parent(on_path, tmp_path):
    code = """
import os, signal, sys, several_jobs
from transfer_core.distributed.launch import run_in_processes
from transfer_core.runtime.progress import Progress
if __name__ == "__main__":
    run_in_processes(2, several_jobs.waiting, Progress(lambda event: print(event["message"], flush=True)))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process:
        waiting = [os.pidfd_open(int(process.stdout.readline())) for _ in range(2)]
        process.kill()
    try:
        for descriptor in waiting:
            assert select.select([descriptor], [], [], 20)[0], "a process is left"
    finally:
        for descriptor in waiting:
            os.close(descriptor)


def test_a_process_that_is_killed_again_and_again(on_path):
    message = r"process 2 of 2 ended \(signal 9, Killed\), after 1 restarts"
    with pytest.raises(ConfigurationError, match=message):
        run_in_processes(2, several_jobs.killed, Progress(), most_restarts=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"steps": [{"type": "freeze"}, {"type": "train"}]}, "every block is frozen"),
        ({**WORDS, "source": "photos", "adapt": "dann"}, "adapt compares the examples of a whole batch"),
        ({**WORDS, "distill": {"from": "mobilenet_v2"}}, "distill compares the examples of a whole batch"),
        ({"task": "detection"}, "detection trains in one process"),
        ({**WORDS, "processes": 16}, "16 processes can't share batches of 8"),
        ({"backbone": "auto"}, "is chosen by backbone :auto"),
    ],
)
def test_what_one_process_must_train(photos, words, message):
    with pytest.raises(RecipeError, match=message) as error:
        transfer_core.train(**{"data": photos, "backbone": "mobilenet_v2", "processes": 2, **words})
    assert error.value.problems[0].path == "processes"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"device": "cpu"}, "2 processes need 2 cores, and there are 1. Fix: processes: 1 or fewer"),
        ({"device": "cuda:0"}, "device cuda:0"),
    ],
)
def test_too_few_cores_or_gpus(photos, words, message, monkeypatch):
    monkeypatch.setenv("TRANSFER_THREADS", "1")
    with pytest.raises(ConfigurationError, match=message):
        transfer_core.train(data=photos, backbone="mobilenet_v2", processes=2, **{**WORDS, **words})
