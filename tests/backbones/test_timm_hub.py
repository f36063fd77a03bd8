"""Weights on the Hugging Face hub: in its cache, in one's own folders, fetched from a hub on this machine."""

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import timm
import torch
from safetensors.torch import save

from transfer_core import backbones
from transfer_core.runtime.errors import WeightsNotFound
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.extras

NAME = "timm/test_resnet.r160_in1k"
COMMIT = "c0ffee" + "0" * 34


@pytest.fixture(scope="module")
def published():
    """The bytes of a model.safetensors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return save(timm.create_model("test_resnet").state_dict())


@pytest.fixture(autouse=True)
def hub_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hf/hub/models--timm--test_resnet.r160_in1k"


def cached(folder, content, commit=COMMIT):
    """As huggingface_hub lays a file out: a blob under the name of its digest, and a link to it."""
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / commit / "model.safetensors"
    for path in (blob, link):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return blob


def test_a_copy_in_the_hubs_cache_is_found_and_its_digest_checked(hub_home, published):
    blob = cached(hub_home, published)
    backbone = backbones.load(NAME)
    assert backbone.weights_digest == hashlib.sha256(published).hexdigest()
    assert backbone.weights.name == "r160_in1k"
    blob.write_bytes(published[:-1] + b"\0\0")
    events = []
    with pytest.raises(WeightsNotFound):
        backbones.load(NAME, progress=Progress(emit=events.append))
    assert [event["message"][:7] for event in events] == ["skipped"]


def test_the_main_branch_counts_more_than_other_commits(hub_home, published):
    cached(hub_home, b"not weights", "a" * 40)
    blob = cached(hub_home, published, "b" * 40)
    (hub_home / "refs").mkdir()
    (hub_home / "refs/main").write_text("b" * 40)
    assert backbones.load(NAME).weights_digest == blob.name


@pytest.mark.parametrize(
    "path", ["test_resnet.r160_in1k.safetensors", "test_resnet.r160_in1k/model.safetensors"]
)
def test_a_folder_of_ones_own_may_hold_it_by_either_name(path, published, tmp_path, monkeypatch):
    file = tmp_path / "mine" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(published)
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path / "mine"))
    assert backbones.load(NAME).weights_digest == hashlib.sha256(published).hexdigest()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.answers.get(self.path.partition("?")[0])
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing on stderr."""


@pytest.fixture
def hub(published, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    large = {"sha256": hashlib.sha256(published).hexdigest(), "size": len(published)}
    listing = {"sha": COMMIT, "siblings": [{"rfilename": "model.safetensors", "lfs": large}]}
    server.answers = {
        f"/api/models/{NAME}/revision/main": json.dumps(listing).encode(),
        f"/{NAME}/resolve/{COMMIT}/model.safetensors": published,
    }
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("TRANSFER_OFFLINE")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def test_it_is_fetched_once(hub, tmp_path, published):
    first = backbones.load(NAME)
    assert (tmp_path / "home/weights/test_resnet.r160_in1k/model.safetensors").read_bytes() == published
    hub.answers.clear()
    assert backbones.load(NAME).weights_digest == first.weights_digest


def test_other_bytes_than_the_hub_lists_are_refused(hub):
    hub.answers[f"/{NAME}/resolve/{COMMIT}/model.safetensors"] = b"something else"
    with pytest.raises(WeightsNotFound, match="its sha256 starts with"):
        backbones.load(NAME)
