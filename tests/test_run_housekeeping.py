"""Runs are listed, removed and pruned; what a process trains, or is worth more than its disk space, stays."""

import fcntl
import os
import subprocess
import sys
import time

import pytest

import transfer_core
from photos import class_folder
from tiny_backbone import tiny_backbone, tiny_facts
from transfer_core import backbones, runs
from transfer_core.pipeline import five_steps
from transfer_core.runtime.errors import Cancelled, ConfigurationError
from transfer_core.worker.model_cache import ModelCache, ModelRef

DAY = 86_400


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """These tests do not depend on the network."""

    def restore(name, tensors, *_):
        network = tiny_backbone()
        network.load_state_dict(tensors)
        return network

    facts = tiny_facts()
    monkeypatch.setattr(backbones, "restore", restore)
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    monkeypatch.setattr(backbones, "facts", lambda *_: facts)
    monkeypatch.setattr(five_steps, "describe", lambda *_: facts)


@pytest.fixture
def photos(tmp_path):
    return class_folder(tmp_path / "photos", per_class=4)


def finish(photos, saved_as=None, **words):
    """The id of a run that has its model."""
    model = transfer_core.train(backbone="mobilenet_v2", data=photos, **words)
    if saved_as:
        model.save(saved_as)
    return model.path.parent.name


def interrupt(photos):
    """The id of a run that was cancelled in its first step."""
    told = []
    with pytest.raises(Cancelled) as error:
        transfer_core.train(
            backbone="mobilenet_v2", data=photos, on_event=told.append, cancelled=lambda: len(told) > 2
        )
    return error.value.run


def age(home, run, days):
    """Let the run be unused for so long."""
    folder = home / "runs" / run
    used = time.time() - days * DAY
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (used, used))


def ids(found):
    return [run["id"] for run in found]


def left(home):
    return sorted(path.name for path in (home / "runs").iterdir())


def test_each_run_is_described(photos, home, tmp_path):
    done, kept, waiting = finish(photos), finish(photos, tmp_path / "m.transfer"), interrupt(photos)
    (home / "runs" / "20260314-150926-5e35a8").mkdir()
    (home / "runs" / "notes").mkdir()
    (home / "runs" / "notes.txt").write_text("mine")
    found = {run["id"]: run for run in runs.list_runs()}
    assert sorted(found) == sorted([done, kept, waiting, "20260314-150926-5e35a8"])
    assert [found[run]["status"] for run in (done, kept, waiting)] == ["finished", "finished", "interrupted"]
    assert found["20260314-150926-5e35a8"]["status"] == "damaged"
    assert [found[run]["saved"] for run in (done, kept, waiting)] == [False, True, False]
    assert [run for run in found if found[run]["resumable"]] == [waiting] == ids(transfer_core.resumable())
    for run in (done, kept, waiting):
        folder = home / "runs" / run
        assert found[run]["backbone"] == ("mobilenet_v2" if run == waiting else tiny_facts().name)
        assert found[run]["path"] == str(folder)
        assert found[run]["bytes"] == sum(path.stat().st_size for path in folder.iterdir()) > 0
        assert found[run]["data"] == str(photos)
        assert found[run]["created_at"][:4] == time.strftime("%Y")
        assert time.time() - found[run]["used_at"] < DAY


def test_a_run_is_removed(photos, home):
    done, waiting = finish(photos), interrupt(photos)
    (home / "runs" / waiting / "notes.txt").write_text("mine")
    assert runs.remove(done)["status"] == "finished"
    assert runs.remove(waiting)["id"] == waiting
    assert left(home) == [waiting]
    assert [path.name for path in (home / "runs" / waiting).iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigurationError, match=f'^there is no run "{done}" in {home}/runs'):
        runs.remove(done)


@pytest.mark.parametrize("name", ["..", "../runs", ".", ""])
def test_only_a_run_is_removed(photos, home, name):
    run = finish(photos)
    with pytest.raises(ConfigurationError, match=r"^there is no run "):
        runs.remove(name)
    assert left(home) == [run]


def test_the_files_of_a_removed_run_are_no_links_to_follow(photos, home, tmp_path):
    run = interrupt(photos)
    thesis = tmp_path / "thesis"
    thesis.write_text("300 pages")
    (home / "runs" / run / "model.transfer").symlink_to(thesis)
    runs.remove(run)
    assert (left(home), thesis.read_text()) == ([], "300 pages")


def test_a_run_that_is_trained_stays(photos, home):
    run = interrupt(photos)
    age(home, run, 1000)
    with open(home / "runs" / run / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [found["status"] for found in runs.list_runs()] == ["running"]
        assert runs.prune(max_bytes=0, older_than_s=0) == []
        with pytest.raises(ConfigurationError, match=f"^the run {run} is being trained"):
            runs.remove(run)
    assert ids(runs.prune(max_bytes=0)) == [run]
    assert left(home) == []


def test_prune_by_age_and_by_size(photos, home, tmp_path):
    waiting, done, kept = interrupt(photos), finish(photos), finish(photos, tmp_path / "m.transfer")
    for run, days in ((waiting, 50), (done, 40), (kept, 20)):
        age(home, run, days)
    sizes = {run["id"]: run["bytes"] for run in runs.list_runs()}
    total = sum(sizes.values())
    assert ids(runs.prune(older_than_s=45 * DAY, dry_run=True)) == [waiting]
    # The copy first, work that is not finished last.
    assert ids(runs.prune(max_bytes=total - 1, dry_run=True)) == [kept]
    assert ids(runs.prune(max_bytes=sizes[waiting], dry_run=True)) == [kept, done]
    assert ids(runs.prune(max_bytes=total, dry_run=True)) == []
    assert len(left(home)) == 3
    assert ids(runs.prune(max_bytes=0, older_than_s=45 * DAY)) == [waiting, kept, done]
    assert left(home) == []


def test_upkeep_by_age(photos, home, tmp_path):
    kept = [finish(photos, tmp_path / f"{n}.transfer") for n in range(2)]
    done = [finish(photos) for _ in range(2)]
    waiting = [interrupt(photos) for _ in range(2)]
    for run, days in zip((*kept, *done, *waiting), (29, 31, 89, 91, 89, 91), strict=True):
        age(home, run, days)
    new = finish(photos, on_event=(told := []).append)
    assert left(home) == sorted([kept[0], done[0], waiting[0], new])
    [warning] = [e["message"] for e in told if e["event"] == "warning" and "removed" in e["message"]]
    assert warning.startswith("removed 3 of the oldest runs (")
    assert kept[1] in warning
    assert not any(
        "removed" in w for w in transfer_core.load(home / "runs" / new / "model.transfer").header.warnings
    )


def test_upkeep_by_size(photos, home, tmp_path, monkeypatch):
    old, older = finish(photos), finish(photos, tmp_path / "m.transfer")
    waiting, fresh = interrupt(photos), finish(photos)
    for run, days in ((old, 9), (older, 8), (waiting, 80), (fresh, 6)):
        age(home, run, days)
    monkeypatch.setenv("TRANSFER_RUNS_LIMIT", "none")
    assert runs.prune() == []
    size = {run["id"]: run["bytes"] for run in runs.list_runs()}
    monkeypatch.setenv("TRANSFER_RUNS_LIMIT", str(sum(size.values()) - 1))
    assert ids(runs.prune(dry_run=True)) == [older]
    monkeypatch.setenv("TRANSFER_RUNS_LIMIT", "0")
    assert ids(runs.prune()) == [older, old]
    assert left(home) == sorted([waiting, fresh])


def test_the_settings_of_upkeep(photos, home, monkeypatch):
    run = finish(photos)
    age(home, run, 1000)
    monkeypatch.setenv("TRANSFER_RUNS_KEEP", "none")
    assert runs.prune() == []
    monkeypatch.setenv("TRANSFER_RUNS_KEEP", "400d")
    assert runs.prune() == []
    monkeypatch.setenv("TRANSFER_RUNS_KEEP", "300d")
    assert ids(runs.prune()) == [run]
    for variable, wrong in (("TRANSFER_RUNS_KEEP", "soon"), ("TRANSFER_RUNS_LIMIT", "much")):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(ConfigurationError, match=rf'^{variable} is a .* or "none", got "{wrong}"$'):
            finish(photos)
        monkeypatch.delenv(variable)


def test_a_model_that_is_used_is_not_old(photos, home):
    loaded, served = finish(photos), finish(photos)
    for run in (loaded, served):
        age(home, run, 1000)
    path = str(home / "runs" / served / "model.transfer")
    models = ModelCache(limit=0)
    models.open(ModelRef(path), print)
    transfer_core.load(home / "runs" / loaded / "model.transfer")
    assert runs.prune() == []


def test_a_run_that_others_could_write_is_not_pruned(photos, home):
    run = finish(photos)
    age(home, run, 1000)
    (home / "runs" / run).chmod(0o777)
    assert runs.prune(max_bytes=0, older_than_s=0) == []
    (home / "runs").chmod(0o777)
    for touch in (runs.prune, lambda: runs.remove(run)):
        with pytest.raises(ConfigurationError, match=f"^{home}/runs can be written by other users"):
            touch()
    (home / "runs").chmod(0o700)
    assert runs.remove(run)["status"] == "untrusted"


def test_runs_are_listed_and_pruned_without_torch(photos, home):
    finish(photos)
    script = "import sys; from transfer_core import runs; runs.list_runs(), runs.prune(max_bytes=0); "
    script += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, left(home)) == ("False\n", [])
