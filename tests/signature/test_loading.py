"""Signed models where they are used: saved, loaded, served, exchanged while they serve."""

import os
import shutil
from pathlib import Path

import pytest

import transfer_core
from photos import COLORS, class_folder, pixels, png
from saved_model import message_of
from signing_keys import is_signed, sign
from transfer_core.runtime.errors import ConfigurationError, SignatureError
from worker.client import REAL_WORKER, Client

pytestmark = [pytest.mark.slow, pytest.mark.extras]


@pytest.fixture(scope="module")
def home_of_models(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(home))
        patch.setenv("TRANSFER_OFFLINE", "1")
        yield home


@pytest.fixture(autouse=True)
def home(home_of_models):
    return home_of_models


@pytest.fixture(scope="module")
def model(home_of_models, tmp_path_factory):
    photos = class_folder(tmp_path_factory.mktemp("photos"), per_class=5)
    return transfer_core.train(backbone="mobilenet_v2", data=photos)


@pytest.fixture(scope="module")
def other_model(home_of_models, tmp_path_factory):
    colors = {"warm": (200, 90, 40), "cold": (40, 90, 200)}
    photos = class_folder(tmp_path_factory.mktemp("photos"), per_class=5, colors=colors)
    return transfer_core.train(backbone="mobilenet_v2", data=photos)


@pytest.fixture
def worker(home):
    client = Client(*REAL_WORKER, TRANSFER_HOME=str(home), TRANSFER_OFFLINE="1", HOME=str(home))
    client.hello()
    yield client
    client.stop()


SKY = png(pixels(COLORS["sky"], seed=9001))


def test_save_signed_and_load(model, tmp_path, key, other_key):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    assert is_signed(path, key)
    assert transfer_core.load(path, signed_by=key.public).predict(SKY)["label"] == "sky"
    assert transfer_core.load(path, signed_by=[other_key.public, key.public]).labels == model.labels
    assert "is signed with the key" in message_of(SignatureError, load_signed_by(other_key), path)
    assert transfer_core.load(path).labels == model.labels
    small = model.save(tmp_path / "small.transfer", backbone=False, sign=key.private.read_text())
    assert transfer_core.load(small, signed_by=key.public).predict(SKY)["label"] == "sky"


def load_signed_by(pair):
    return lambda path: transfer_core.load(path, signed_by=pair.public)


def test_save_again(model, other_model, tmp_path, key):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    other_model.save(path, sign=key.private)
    assert transfer_core.load(path, signed_by=key.public).labels == other_model.labels
    model.save(path)
    assert "is not signed" in message_of(SignatureError, load_signed_by(key), path)
    assert os.listdir(tmp_path) == ["m.transfer"]


def test_a_key_that_can_not_be_used_leaves_model_and_signature(model, other_model, tmp_path, key):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for unusable in (key.public, tmp_path / "none.pem", ""):
        message_of(SignatureError, lambda unusable=unusable: other_model.save(path, sign=unusable))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_signatures_that_are_required(model, tmp_path, key, other_key, monkeypatch):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    unsigned = model.save(tmp_path / "unsigned.transfer")
    monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", str(key.public))
    assert transfer_core.load(path).labels == transfer_core.load(path, signed_by=key.public).labels
    assert "is not signed" in message_of(SignatureError, transfer_core.load, unsigned)
    assert "not among those of" in message_of(SignatureError, load_signed_by(other_key), path)
    assert model.predict(SKY)["label"] == "sky"  # trained in this process
    monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", "/nowhere.pem")
    assert message_of(ConfigurationError, transfer_core.load, path) == (
        "TRANSFER_REQUIRE_SIGNATURE: can't read the key /nowhere.pem: No such file or directory"
    )


def test_a_run_that_has_ended_needs_no_signature(model, key, monkeypatch):
    monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", str(key.public))
    assert transfer_core.resume(model.path.parent.name).labels == model.labels


def failure(worker, method, **params):
    found = worker.call(method, **params)
    assert isinstance(found, dict), found
    return found["type"], found["message"]


def test_every_call_of_the_worker_verifies(worker, model, tmp_path, key, other_key):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    evaluated = {"data": model.header.recipe["data"]["path"]}
    calls = {"predict": {"inputs": [SKY]}, "embed": {"inputs": [SKY]}, "describe": {}, "reload": {}}
    calls |= {"save": {"path": str(tmp_path / "copy.transfer")}, "evaluate": evaluated}
    for method, params in calls.items():
        asked = {"model": str(path), **params}
        for unsigned in ([other_key.raw], [b"x" * 32], [b""], []):
            type, message = failure(worker, method, signed_by=unsigned, **asked)
            assert (type, "is signed with the key" in message) == ("SignatureError", True), method
        found = worker.call(method, signed_by=[other_key.raw, key.raw], **asked)
        assert "type" not in found, found
    assert not Path(f"{tmp_path}/copy.transfer.sig").exists()


def test_a_model_in_memory_is_not_answered_for_keys_that_did_not_verify_it(worker, model, tmp_path, key):
    """As in a worker that several processes share, of which one demands no signature."""
    path = model.save(tmp_path / "m.transfer")
    asked = {"model": str(path), "inputs": [SKY]}
    assert worker.call("predict", **asked)[0]["label"] == "sky"
    assert failure(worker, "predict", signed_by=[key.raw], **asked)[0] == "SignatureError"
    sign(path, key)
    assert worker.call("predict", signed_by=[key.raw], **asked)[0]["label"] == "sky"
    assert worker.call("serving")["models"]["count"] == 2


def labels(found):
    return set(found[0]["scores"])


def test_a_model_is_exchanged_while_it_serves(worker, model, other_model, tmp_path, key, other_key):
    path = model.save(tmp_path / "m.transfer", sign=key.private)
    asked = {"model": str(path), "signed_by": [key.raw], "inputs": [SKY]}
    reload = {"model": str(path), "signed_by": [key.raw]}
    assert labels(worker.call("predict", **asked)) == set(model.labels)

    other_model.save(path, sign=other_key.private)  # by somebody else
    assert labels(worker.call("predict", **asked)) == set(model.labels)
    assert failure(worker, "reload", **reload)[0] == "SignatureError"

    other_model.save(path)  # without a signature, which comes later
    assert labels(worker.call("predict", **asked)) == set(model.labels)
    assert "is not signed" in failure(worker, "reload", **reload)[1]
    sign(path, key)
    assert labels(worker.call("predict", **asked)) == set(other_model.labels)
    assert worker.call("reload", **reload)["labels"] == list(other_model.labels)

    signature = Path(f"{path}.sig").read_bytes()
    model.save(tmp_path / "new.transfer", sign=key.private)  # copied, first the model, then its signature
    shutil.copy(tmp_path / "new.transfer", path)
    assert labels(worker.call("predict", **asked)) == set(other_model.labels)
    shutil.copy(tmp_path / "new.transfer.sig", f"{path}.sig")
    assert labels(worker.call("predict", **asked)) == set(model.labels)
    Path(f"{path}.sig").write_bytes(signature)
    assert labels(worker.call("predict", **asked)) == set(model.labels)
    assert "does not match" in failure(worker, "reload", **reload)[1]
