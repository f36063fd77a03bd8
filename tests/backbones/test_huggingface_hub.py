"""Fetching a model from a hub, here a small one of our own on this machine; what its card says."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tiny_encoder import tiny_encoder
from transfer_core.backbones import facts, load
from transfer_core.backbones.huggingface.model_card import Card, read_card
from transfer_core.runtime.errors import RecipeError, WeightsNotFound
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.extras

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Serves the files of one folder as the model org/tiny; `asked` are the paths, `tokens` what came with
    them."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        self.digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        self.asked, self.tokens = [], []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        self.server.tokens.append(self.headers.get("Authorization"))
        if path in ("/api/models/org/tiny/revision/main", f"/api/models/org/tiny/revision/{COMMIT}"):
            entries = [self.entry(name) for name in self.server.files]
            self.reply(json.dumps({"sha": COMMIT, "siblings": entries}).encode())
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            self.reply(self.server.files[path.split(COMMIT + "/")[1]])
        else:
            self.send_error(404)

    def entry(self, name):
        size = len(self.server.files[name])
        large = (
            {"lfs": {"sha256": self.server.digests[name], "size": size}}
            if name.endswith(".safetensors")
            else {}
        )
        return {"rfilename": name, "size": size, **large}

    def reply(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    folder = tmp_path / "published"
    tiny_encoder(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"not needed")
    for variable in ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("TRANSFER_OFFLINE")
    with Hub(folder) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_model_is_fetched_once_and_its_weights_when_they_are_needed(hub, monkeypatch):
    assert facts("hf/org/tiny").name == f"hf/org/tiny@{COMMIT}"
    assert not any(path.endswith(("safetensors", "onnx")) for path in hub.asked)
    events = []
    backbone = load("hf/org/tiny", progress=Progress(emit=events.append))
    assert backbone.weights_digest == hub.digests["model.safetensors"]
    size = len(hub.files["model.safetensors"])
    assert {"event": "progress", "step": "choose", "done": size, "total": size, "unit": "bytes"} in events
    assert events[-1]["message"].endswith("CC-BY-NC-4.0: no commercial use (https://huggingface.co/org/tiny)")
    count = len(hub.asked)
    monkeypatch.setenv("TRANSFER_OFFLINE", "1")
    assert load("hf/org/tiny").facts.name == backbone.facts.name
    assert load(backbone.facts.name).weights_digest == backbone.weights_digest
    assert len(hub.asked) == count
    assert not any(path.endswith("onnx") for path in hub.asked)


def test_weights_with_other_bytes_than_the_hub_says_are_not_taken(hub):
    hub.digests["model.safetensors"] = "0" * 64
    with pytest.raises(WeightsNotFound, match=r"the hub: its sha256 starts with \w{64}, not with 0000"):
        load("hf/org/tiny")


def test_a_token_is_shown_to_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    facts("hf/org/tiny")
    assert set(hub.tokens) == {"Bearer hf_abc"}


def test_what_the_hub_lacks(hub):
    with pytest.raises(WeightsNotFound, match=r"the hub: http://.*: failed, HTTP Error 404"):
        facts("hf/org/none")
    del hub.files["config.json"]
    with pytest.raises(RecipeError, match=r"org/tiny on the hub has no config\.json"):
        facts("hf/org/tiny")


CARD = b"""---
language: en
license: apache-2.0
datasets: [squad, "glue"]
tags:
- text
- arxiv:1908.10084
---
license: mit
"""


def test_what_a_card_says():
    assert read_card(CARD) == Card("Apache-2.0", "", "squad, glue", "1908.10084")
    terms = "license: other\r\nlicense_name: cc-by-nc-sa-4.0\r\nlicense_link: https://x.org/l"
    listed = f"---\r\n{terms}\r\ndatasets:\r\n- a/b\r\n- c\r\n---".encode()
    assert read_card(listed) == Card("CC-BY-NC-SA-4.0", "https://x.org/l", "a/b, c", "")
    assert (
        read_card(b"# No front matter\nlicense: mit") == read_card(None) == Card("unknown", "", "unknown", "")
    )
