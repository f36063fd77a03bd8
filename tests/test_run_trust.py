"""A run is resumed as it is if it began here and nobody else could write it; else with `trust` alone."""

import json
import os
import shutil

import pytest

import transfer_core
from photos import class_folder
from transfer_core import runs
from transfer_core.runtime.errors import Cancelled, ConfigurationError, RecipeError

HUBCONF = """
from pathlib import Path

import torch

dependencies = ["torch"]
(Path(__file__).parent / "ran").touch()

def colors(pretrained=False):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10),
    )
"""

NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
EXPOSED = ["writable", pytest.param("foreign", marks=NOT_ROOT)]


def expose(path, how):
    if how == "writable":
        path.chmod(path.stat().st_mode | 0o022)
    else:
        os.chown(path, 65534, 65534)


@pytest.fixture
def run(tmp_path, home):
    """The directory of a run that was interrupted in its first step, and whose backbone brings code."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hubconf.py").write_text(HUBCONF)
    photos = class_folder(tmp_path / "photos", per_class=4)
    told = []
    with pytest.raises(Cancelled) as error:
        transfer_core.train(
            backbone=f"torchhub:{tmp_path}/hub:colors",
            trust=True,
            data=photos,
            on_event=told.append,
            cancelled=lambda: any(event["event"] == "stage" for event in told),
        )
    has_run(tmp_path)
    return home / "runs" / error.value.run


def has_run(tmp_path):
    """Whether the code of the backbone has run since this was last asked."""
    ran = tmp_path / "hub" / "ran"
    found = ran.exists()
    ran.unlink(missing_ok=True)
    return found


def refused(name, how=ConfigurationError, **words):
    with pytest.raises(how) as error:
        transfer_core.resume(name, **words)
    return str(error.value)


def test_a_run_that_began_here_keeps_its_trust(run, tmp_path):
    model = transfer_core.resume(run.name)
    assert has_run(tmp_path)
    assert model.header.recipe["trust"] is True


@pytest.mark.parametrize("place", ["elsewhere", "home/elsewhere", "home/runs/a/b"])
def test_a_path_needs_trust(run, tmp_path, monkeypatch, place):
    copy = shutil.copytree(run, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    for name in (str(copy), f"./{place}", f"{tmp_path}/home/runs/../../{place}"):
        assert refused(name).startswith(f'"{name}" is not the id of a run')
    assert not has_run(tmp_path)
    assert transfer_core.resume(f"./{place}", trust=True).path == copy / "model.transfer"
    assert has_run(tmp_path)


def test_a_copy_among_the_runs_does_not_vouch_for_itself(run, tmp_path, home):
    shutil.copytree(run, home / "runs" / "gift")
    message = refused("gift", RecipeError)
    assert message.startswith("trust: ")
    assert "hubconf.py" in message
    assert not has_run(tmp_path)
    transfer_core.resume("gift", trust=True)
    assert has_run(tmp_path)


def test_another_backbone_in_a_trusted_run_needs_trust(run, tmp_path):
    shutil.copytree(tmp_path / "hub", tmp_path / "other")
    facts = json.loads((run / "run.json").read_text())
    facts["recipe"]["backbone"] = f"torchhub:{tmp_path}/other:colors"
    (run / "run.json").write_text(json.dumps(facts))
    assert refused(run.name, RecipeError).startswith("trust: ")
    assert not (tmp_path / "other" / "ran").exists()


@pytest.mark.parametrize("place", ["", "run.json", "lock", "checkpoint.safetensors"])
@pytest.mark.parametrize("how", EXPOSED)
def test_a_run_that_another_user_could_write_needs_trust(run, tmp_path, how, place):
    run.chmod(0o755)
    (run / "checkpoint.safetensors").touch(0o600)
    expose(run / place, how)
    why = "can be written by other users (mode 0" if how == "writable" else "belongs to user 65534"
    message = refused(run.name)
    assert message.startswith(f"the run {run.name} can't be resumed: {run / place} {why}".rstrip("/"))
    assert message.endswith("or give trust: true, if you trust its content, which may run code")
    [found] = runs.list_runs()
    assert (found["status"], found["resumable"], found["recipe"]) == ("untrusted", False, None)
    assert not has_run(tmp_path)
    transfer_core.resume(run.name, trust=True)
    assert has_run(tmp_path)


@pytest.mark.parametrize("how", EXPOSED)
def test_runs_in_a_directory_that_another_user_could_write_need_trust(run, home, how):
    for place in (home, home / "runs"):
        before = place.stat()
        expose(place, how)
        assert f" can't be resumed: {place} " in refused(run.name)
        os.chown(place, before.st_uid, before.st_gid)
        place.chmod(before.st_mode)
    transfer_core.resume(run.name)


def test_trust_is_true_or_false(run):
    assert refused(run.name, RecipeError, trust="no") == 'trust: expected True or False (got "no")'


def test_a_link_among_the_runs_is_not_followed(run, tmp_path, home):
    shutil.move(run, tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    assert " is a link. Fix: rm " in refused(run.name)
    assert runs.list_runs() == []


def test_the_model_of_a_finished_run_needs_trust_too(run, tmp_path):
    model = transfer_core.resume(run.name)
    moved = shutil.copytree(run, tmp_path / "elsewhere")
    assert refused(str(moved)).startswith(f'"{moved}" is not the id of a run')
    run.chmod(0o777)
    assert " can be written by other users (mode 0777)" in refused(run.name)
    assert transfer_core.resume(run.name, trust=True).labels == model.labels
