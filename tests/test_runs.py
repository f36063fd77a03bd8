"""Runs that can be resumed, those that can't, and what is said of them."""

import fcntl
import json
import os
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

import transfer_core
from photos import class_folder, rows
from tiny_backbone import tiny_backbone, tiny_facts
from transfer_core import backbones, runs
from transfer_core.model_file.format import read_model
from transfer_core.pipeline import five_steps
from transfer_core.runs import checkpoints
from transfer_core.runs.checkpoint_file import (
    Damaged,
    Position,
    read_checkpoint,
    read_position,
    write_checkpoint,
)
from transfer_core.runtime.errors import Cancelled, ConfigurationError, DataError
from transfer_core.runtime.progress import Progress
from transfer_core.training.checkpointer import Snapshot

pytestmark = pytest.mark.slow

TUNE = {
    "steps": [
        {"type": "freeze"},
        {"type": "train"},
        {"type": "unfreeze", "last": 1},
        {"type": "train", "epochs": 3, "batch_size": 8},
    ]
}


@pytest.fixture
def photos(tmp_path):
    return class_folder(tmp_path / "photos", per_class=5)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """What these tests are about does not depend on the network."""

    def restore(name, tensors, *_):
        network = tiny_backbone()
        network.load_state_dict(tensors)
        return network

    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    facts = tiny_facts()
    monkeypatch.setattr(backbones, "facts", lambda *_: facts)
    monkeypatch.setattr(five_steps, "describe", lambda *_: facts)
    monkeypatch.setattr(backbones, "restore", restore)


@pytest.fixture(autouse=True)
def every_epoch_is_kept(monkeypatch):
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)


def train(data, until=None, **words):
    """A training; with `until`, the id of one cancelled after that epoch of fine-tuning, 0: before it."""
    told = []

    def cancelled():
        epochs = [e["number"] for e in told if e["event"] == "epoch" and e["step"] == "fine_tune"]
        begun = any(e["event"] == "stage" and e["step"] == "fine_tune" for e in told)
        return until is not None and begun and max([0, *epochs]) >= until

    def run():
        return transfer_core.train(
            backbone="mobilenet_v2", data=data, on_event=told.append, cancelled=cancelled, **(words or TUNE)
        )

    if until is None:
        return run()
    with pytest.raises(Cancelled) as error:
        run()
    return error.value.run


def same_tensors(first, second):
    first, second = read_model(first.path)[1], read_model(second.path)[1]
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def folder(home, run):
    return home / "runs" / run


def write(path, content):
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)


def read(path):
    return {file.name: file.read_text() for file in path.iterdir()}


def test_a_cancelled_run_waits_to_be_resumed(photos, home):
    assert transfer_core.resumable() == []
    run = train(photos, until=2)
    [waiting] = transfer_core.resumable()
    assert (waiting["id"], waiting["path"]) == (run, str(folder(home, run)))
    assert (waiting["step"], waiting["epoch"], waiting["epochs"]) == ("fine_tune", 2, 3)
    assert waiting["recipe"]["data"] == {"type": "path", "path": photos}
    assert sorted(path.name for path in folder(home, run).iterdir()) == [
        "checkpoint.safetensors",
        "lock",
        "run.json",
    ]
    model = transfer_core.resume(run)
    assert transfer_core.resumable() == []
    assert model.path == folder(home, run) / "model.transfer"
    assert same_tensors(model, train(photos))
    assert same_tensors(model, transfer_core.resume(run))  # it has its model


def test_a_relative_path_means_the_same_elsewhere(photos, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = train("photos", until=1)
    monkeypatch.chdir("/")
    assert same_tensors(transfer_core.resume(run), train(photos))


def test_photos_may_have_moved(photos, tmp_path):
    expected = train(photos)
    run = train(photos, until=1)
    os.rename(photos, tmp_path / "elsewhere")
    with pytest.raises(DataError, match="does not exist"):
        transfer_core.resume(run)
    assert same_tensors(transfer_core.resume(run, data=tmp_path / "elsewhere"), expected)


def test_a_photo_that_changed_is_named(photos, home):
    run = train(photos, until=1)
    photo = Path(photos, "sky", "3.png")
    Path(photos, "sky", "9.png").write_bytes(photo.read_bytes() + b".")
    photo.unlink()
    begin = f"the data has changed since the run {run} began: "
    end = ". Fix: restore the data, or start a new training"
    with pytest.raises(DataError) as error:
        transfer_core.resume(run)
    message = str(error.value)
    assert message.startswith(begin)
    assert message.endswith(end)
    assert str(Path(photos, "sky", "9.png")) in message
    assert folder(home, run).is_dir()


def test_rows_are_handed_over_again():
    expected = train(rows(per_class=5))
    run = train(rows(per_class=5), until=1)
    with pytest.raises(DataError) as error:
        transfer_core.resume(run)
    assert str(error.value) == (
        f"the data of the run {run} are rows, which are not stored. Fix: give them again "
        f'(Transfer.resume("{run}", data: rows))'
    )
    with pytest.raises(DataError, match=r"^the data has changed since the run .* began: "):
        transfer_core.resume(run, data=rows(per_class=4))
    assert same_tensors(transfer_core.resume(run, data=rows(per_class=5)), expected)


def test_a_run_that_is_not_there(photos, home):
    run = train(photos, until=0)
    for wrong, hint in ((run[:-1] + "x", f', did you mean "{run}"?'), ("a", "")):
        with pytest.raises(ConfigurationError) as error:
            transfer_core.resume(wrong)
        assert str(error.value) == f'there is no run "{wrong}" in {home / "runs"}{hint}'


@pytest.mark.parametrize("facts", [None, '{"name": "mine"}'])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path, facts):
    mine = tmp_path / "mine"
    content = {"lock": "packages", ".transfer-x.tmp": "x"} | ({"run.json": facts} if facts else {})
    write(mine, content)
    with pytest.raises(ConfigurationError, match="there is no run" if facts is None else "can't be resumed"):
        transfer_core.resume(str(mine), trust=True)
    assert read(mine) == content


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "a/b", "a\n", "ä", "a\0", "\udcff"])
def test_a_name_that_is_no_id_is_refused(photos, home, name, monkeypatch):
    train(photos, until=0)
    monkeypatch.chdir(home / "runs")
    with pytest.raises(ConfigurationError) as error:
        transfer_core.resume(name)
    assert str(error.value).startswith(f'"{name}" is not the id of a run (letters, digits, _ and -). Fix: ')
    with pytest.raises(ConfigurationError, match=r"^there is no run "):
        transfer_core.resume(name, trust=True)
    assert not [*home.glob("lock"), *home.glob("runs/lock")]


def test_what_lies_beside_a_finished_model_is_left_alone(photos, tmp_path):
    model = train(photos)
    mine = tmp_path / "mine"
    content = {
        "run.json": "mine",
        "lock": "mine",
        "checkpoint.safetensors": "mine",
        ".transfer-x.tmp": "mine",
    }
    write(mine, content)
    os.link(model.path, mine / "model.transfer")
    assert same_tensors(transfer_core.resume(str(mine), trust=True), model)
    (mine / "model.transfer").unlink()
    assert read(mine) == content


def test_a_lock_that_is_a_link_is_not_followed(photos, home, tmp_path):
    run = train(photos, until=0)
    thesis = tmp_path / "thesis"
    thesis.write_text("300 pages")
    (folder(home, run) / "lock").unlink()
    (folder(home, run) / "lock").symlink_to(thesis)
    with pytest.raises(ConfigurationError, match=rf"^the run {run} can't be resumed: "):
        transfer_core.resume(run)
    assert thesis.read_text() == "300 pages"


def test_a_run_that_another_process_trains(photos, home):
    run = train(photos, until=0)
    with open(folder(home, run) / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate()
        lock.write("4711")
        lock.flush()
        assert transfer_core.resumable() == []
        with pytest.raises(ConfigurationError) as error:
            transfer_core.resume(run)
    assert str(error.value) == (
        f"the run {run} is being trained by another process (pid 4711). Fix: wait for it, or end it"
    )
    assert [waiting["id"] for waiting in transfer_core.resumable()] == [run]


def test_a_checkpoint_of_another_shape_is_none(photos, home):
    run, other = train(photos, until=2), train(photos, until=2)
    path = folder(home, run) / "checkpoint.safetensors"

    class Older(msgspec.Struct):
        phase: int = 0

    write_checkpoint(path, Older(), read_checkpoint(path)[1])
    assert [(waiting["id"], waiting["epoch"]) for waiting in transfer_core.resumable()] == sorted(
        [(run, None), (other, 2)]
    )
    warning = transfer_core.resume(run).header.warnings[0]
    assert warning.startswith(
        "the checkpoint is damaged, so this run starts from the beginning: it cannot be read ("
    )


@pytest.mark.parametrize("damage", ["altered", "cut short", "empty", "of another format"])
def test_a_damaged_checkpoint_costs_time_and_not_the_result(photos, home, damage):
    run = train(photos, until=2)
    path = folder(home, run) / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[-100] ^= 1
    path.write_bytes({"cut short": content[:-1], "empty": b""}.get(damage, content))
    if damage == "of another format":
        content = content.replace(b'format_version\\": 1', b'format_version\\": 2')
        path.write_bytes(content)
    told = []
    model = transfer_core.resume(run, on_event=told.append)
    assert next(event for event in told if event["event"] == "run")["history"] == []
    warning = model.header.warnings[0]
    assert warning.startswith("the checkpoint is damaged, so this run starts from the beginning: it")
    assert same_tensors(model, train(photos))


def test_other_versions_are_a_warning(photos, home):
    run = train(photos, until=1)
    path = folder(home, run) / "run.json"
    facts = json.loads(path.read_text())
    torch = facts["versions"]["torch"]
    path.write_text(json.dumps({**facts, "versions": {**facts["versions"], "torch": "2.0.0"}}))
    assert transfer_core.resume(run).header.warnings[-1] == (
        f"this run began with torch 2.0.0 and continues with torch {torch}: "
        "the result may differ in its last digits"
    )


def test_a_run_whose_facts_are_damaged(photos, home):
    run = train(photos, until=0)
    (folder(home, run) / "run.json").write_text("{")
    assert transfer_core.resumable() == []
    assert [(found["status"], found["recipe"]) for found in runs.list_runs()] == [("damaged", None)]
    with pytest.raises(ConfigurationError, match=rf"^the run {run} can't be resumed: run\.json: "):
        transfer_core.resume(run)


def test_a_full_disk_does_not_end_a_training(photos, monkeypatch):
    expected = train(photos)

    def full(*_):
        raise ConfigurationError("can't save: No space left on device")

    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    model = train(photos)
    assert model.header.warnings[-1] == (
        "no checkpoint could be written, the training continues: can't save: No space left on device"
    )
    assert same_tensors(model, expected)


def test_a_failure_after_a_checkpoint_leaves_the_run(photos):
    def fail(event):
        if event["event"] == "epoch" and event["step"] == "fine_tune" and event["number"] == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transfer_core.train(backbone="mobilenet_v2", data=photos, on_event=fail, **TUNE)
    [run] = transfer_core.resumable()
    assert run["epoch"] == 2
    assert same_tensors(transfer_core.resume(run["id"]), train(photos))


def test_a_failure_after_the_model_is_written_leaves_it(photos, home, monkeypatch):
    def fail(_):
        raise ConfigurationError("can't read it")

    with monkeypatch.context() as patch:
        patch.setattr("transfer_core.model.loading.note_identity", fail)
        with pytest.raises(ConfigurationError, match="can't read it"):
            train(photos, head="linear")
    [run] = (home / "runs").iterdir()
    assert transfer_core.resumable() == []
    assert same_tensors(transfer_core.resume(run.name), train(photos, head="linear"))
    assert [path.name for path in run.iterdir()] == ["model.transfer"]


@pytest.mark.parametrize("seconds", ["1700000000.5", "soon", "9" * 30])
def test_a_date_that_is_none_is_told_before_the_training(photos, home, monkeypatch, seconds):
    run = train(photos, until=1)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
    told = []
    for begin in (train, lambda _: transfer_core.resume(run, on_event=told.append)):
        with pytest.raises(ConfigurationError) as error:
            begin(photos)
        assert str(error.value) == (
            f"SOURCE_DATE_EPOCH is {seconds}, which is not a time. "
            "Fix: set it to seconds since 1970, or unset it"
        )
    assert told == []
    assert [path.name for path in (home / "runs").iterdir()] == [run]


def test_checkpoints_take_a_small_part_of_the_time(photos, monkeypatch):
    clock = 0.0

    def write(_):
        nonlocal clock
        clock += 0.5
        kept.append(clock)

    kept = []
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 1.0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 20)
    monkeypatch.setattr(checkpoints, "monotonic", lambda: clock)
    checkpointer = checkpoints.PhaseCheckpointer(None, write, Progress())
    for _ in range(100):
        clock += 1.0  # an epoch
        checkpointer.save(Snapshot)
    assert [after - before for before, after in pairwise(kept)] == [10.5] * (len(kept) - 1)
    assert len(kept) == 10


def test_runs_are_listed_without_torch(home):
    script = "import sys, transfer_core; transfer_core.resumable(); print('torch' in sys.modules)"
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert listed.stdout == "False\n"


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "c.safetensors"
    position = Position(
        phase=2, step="train", epoch=1, epochs=3, history=[{"loss": 0.1 + 0.2}], warnings=["é"]
    )
    tensors = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "step": np.array(3.0, np.float32)}
    facts = {"best_loss": float("inf"), "history": [{"loss": 1 / 3}]}
    write_checkpoint(path, position, Snapshot(tensors, facts))
    assert read_position(path) == position
    read, snapshot = read_checkpoint(path)
    assert (read, snapshot.facts) == (position, facts)
    for name, array in tensors.items():
        assert np.array_equal(snapshot.tensors[name], array)
        assert snapshot.tensors[name].shape == array.shape


def test_no_bit_of_a_checkpoint_can_change_unseen(tmp_path):
    path = tmp_path / "c.safetensors"
    position = Position(phase=0, step="train", epoch=1, epochs=3, history=[], warnings=[])
    write_checkpoint(path, position, Snapshot({"a": np.ones(3, np.float32)}, {"best_loss": 1.0}))
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 4
        path.write_bytes(changed)
        with suppress(Damaged):  # else it is a name or a blank that says nothing
            assert read_checkpoint(path)[1].tensors["a"].tolist() == [1, 1, 1]
