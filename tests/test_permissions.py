"""What is kept is for its user alone, and what another user could have written is not read."""

import os
import stat
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

import transfer_core
from photos import class_folder
from tiny_backbone import tiny_backbone, tiny_facts
from transfer_core import backbones, cache
from transfer_core.backbones import facts as find_facts
from transfer_core.backbones.download import download
from transfer_core.backbones.places import places
from transfer_core.cache.digests import Seen, known_digests, remember, stamp_of
from transfer_core.features.store import FeatureStore
from transfer_core.pipeline import five_steps
from transfer_core.runtime import measurements
from transfer_core.runtime.errors import ConfigurationError, TransferWarning
from transfer_core.runtime.permissions import exposure
from transfer_core.runtime.progress import Progress

NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
EXPOSED = ["writable", pytest.param("foreign", marks=NOT_ROOT)]


def expose(path, how):
    if how == "writable":
        path.chmod(path.stat().st_mode | 0o022)
    else:
        os.chown(path, 65534, 65534)


def mend(path):
    os.chown(path, os.geteuid(), -1)
    path.chmod(path.stat().st_mode & ~0o022)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
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


def train(data, **words):
    return transfer_core.train(backbone="mobilenet_v2", data=data, **words)


def warnings_in(events):
    return [event["message"] for event in events if event["event"] == "warning"]


@pytest.fixture
def umask():
    """Changes the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.usefixtures("tiny_network")
def test_nothing_that_is_kept_can_be_read_by_others(tmp_path, home, umask):
    photos = class_folder(tmp_path / "photos", per_class=4)
    old = os.stat(photos).st_mtime - 100
    for name in os.listdir(f"{photos}/sky"):
        os.utime(f"{photos}/sky/{name}", (old, old))
    umask(0)
    model = train(photos)
    measurements.remembered("speed", lambda: 1)
    transfer_core.model_file.trust.trust(model.digest, "a model")
    kept = [home, *home.rglob("*")]
    names = {path.name for path in kept}
    assert {"model.transfer", "features.sqlite", "measurements.json", "trusted"} <= names
    assert {path: oct(mode(path)) for path in kept if mode(path) & 0o077} == {}


@pytest.mark.usefixtures("tiny_network")
def test_a_home_that_others_can_read_stays_as_it_is(tmp_path, home):
    for folder in ("runs", "cache"):
        (home / folder).mkdir(0o755, parents=True)
    home.chmod(0o755)
    photos = class_folder(tmp_path / "photos", per_class=4)
    model = train(photos, on_event=(told := []).append)
    assert [message for message in warnings_in(told) if "can be written" in message] == []
    assert (mode(home), mode(home / "runs"), mode(model.path.parent)) == (0o755, 0o755, 0o700)


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize("place", ["", "runs"])
@pytest.mark.parametrize("how", EXPOSED)
def test_no_training_where_others_could_write_its_run(tmp_path, home, place, how):
    (home / "runs").mkdir(parents=True)
    photos = class_folder(tmp_path / "photos", per_class=4)
    expose(home / place, how)
    with pytest.raises(ConfigurationError, match=f"^{home / place} .*") as error:
        train(photos)
    assert list((home / "runs").iterdir()) == []
    subprocess.run(str(error.value).partition("Fix: ")[2], shell=True, check=True)
    assert len(train(photos).labels) == 3


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize("how", EXPOSED)
def test_a_cache_that_others_could_write_is_ignored_with_a_warning(tmp_path, home, how):
    photos = class_folder(tmp_path / "photos", per_class=4)
    model = train(photos)
    before = {path: path.stat().st_mtime_ns for path in (home / "cache").rglob("*")}
    expose(home / "cache", how)
    again = train(photos, on_event=(told := []).append)
    expected = f"the cache is ignored, so everything is computed again: {home / 'cache'} "
    assert warnings_in(told)[0].startswith(expected)
    assert again.header.warnings == model.header.warnings
    assert again.metrics == model.metrics
    assert {path: path.stat().st_mtime_ns for path in (home / "cache").rglob("*")} == before
    with pytest.warns(TransferWarning, match="the cache is ignored"):
        transfer_core.load(model.save(tmp_path / f"{how}.transfer"))
    for touch in (cache.verify, cache.prune, cache.clear):
        with pytest.raises(ConfigurationError, match=r"Fix: ch(mod|own) -R "):
            touch()


@pytest.mark.parametrize("how", EXPOSED)
def test_no_part_of_such_a_cache_is_believed(tmp_path, home, how):
    rows, into = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    FeatureStore().add("owner", ["key"], rows)
    measurements.remembered("speed", lambda: 1)
    photo = tmp_path / "photo"
    photo.write_text("photo")
    remember([Seen(str(photo), stamp_of(photo.stat()), "digest")])
    for place in (home / "cache", home):
        expose(place, how)
        assert not FeatureStore().read("owner", ["key"], into).any()
        assert known_digests([str(photo)]) == {}
        assert measurements.known("speed") == {}
        mend(place)
    assert FeatureStore().read("owner", ["key"], into).all()
    assert list(known_digests([str(photo)])) == [str(photo)]
    assert measurements.known("speed") == {"speed": 1}


@pytest.mark.parametrize("how", EXPOSED)
def test_a_list_of_trust_that_others_could_write_is_ignored(tmp_path, home, how):
    transfer_core.model_file.trust.trust("digest", "a model")
    for place in (home / "trusted", home):
        expose(place, how)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert not transfer_core.model_file.trust.is_trusted("digest")
        assert str(told[0].message).startswith(f"the list of trusted models is ignored: {place} ")
        with pytest.raises(ConfigurationError, match=r"Fix: ch(mod|own) -R "):
            transfer_core.model_file.trust.trust("digest", "a model")
        mend(place)
    assert transfer_core.model_file.trust.is_trusted("digest")


@pytest.mark.parametrize("how", EXPOSED)
def test_weights_that_others_could_write_are_neither_used_nor_fetched(home, how):
    weights = find_facts("resnet18").default_weights
    path = home / "weights" / weights.file
    path.parent.mkdir(parents=True)
    path.write_text("planted")
    assert path in found_copies(weights)
    expose(path.parent, how)
    assert path not in found_copies(weights)
    with pytest.raises(ConfigurationError, match=f"^{path.parent} .* Fix: "):
        download(weights, path.parent, Progress())
    assert os.listdir(path.parent) == [path.name]


def found_copies(weights):
    return [path for place in places([weights]) for path in place.copies(weights)]


@NOT_ROOT
def test_a_home_behind_the_link_of_another_user_is_not_used(tmp_path, monkeypatch, home):
    (home / "runs").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    monkeypatch.setenv("TRANSFER_HOME", str(link / "home"))
    assert exposure(link / "home" / "runs") is None
    os.chown(link, 65534, 65534, follow_symlinks=False)
    found = exposure(link / "home" / "runs")
    assert str(found) == f"{link} is a link that belongs to user 65534, not to user 0. Fix: rm {link}"


@pytest.mark.parametrize("how", EXPOSED)
def test_a_link_to_a_place_that_others_could_write(tmp_path, home, how):
    home.mkdir()
    target = tmp_path / "scratch"
    target.mkdir()
    (home / "cache").symlink_to(target)
    assert exposure(home / "cache") is None
    expose(target, how)
    assert exposure(home / "cache").path == target


@NOT_ROOT
def test_what_belongs_to_root_is_believed(monkeypatch):
    monkeypatch.setenv("TRANSFER_HOME", "/usr")
    os.seteuid(65534)
    try:
        found = exposure(Path("/usr/bin/env")), exposure(Path("/tmp"))
    finally:
        os.seteuid(0)
    assert found[0] is None
    assert found[1].reason == "can be written by other users (mode 1777)"
