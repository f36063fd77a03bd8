"""Against a real HTTP server on this machine."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest

from transfer_core.backbones import facts
from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.weights import find_weights
from transfer_core.runtime.errors import Cancelled, ConfigurationError, WeightsNotFound
from transfer_core.runtime.progress import Progress

CONTENT = bytes(range(256)) * 12_000  # 3 MB: three chunks


class Publisher(BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/whole": CONTENT, "/cut": CONTENT, "/other": b"not the file"}.get(self.path)
        if body is None:
            return self.send_error({"/token": 401, "/proxy": 407}.get(self.path, 404))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, *_):
        """Nothing on stderr."""


@pytest.fixture
def publish():
    """Weights whose file is at a path of a server that lives for the test."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    digest = hashlib.sha256(CONTENT).hexdigest()

    def weights(path):
        return msgspec.structs.replace(
            facts("resnet18").weights[0],
            name="V1",
            file=f"net-{digest[:8]}.pth",
            url=f"http://127.0.0.1:{server.server_port}/{path}",
            sha256=digest[:8],
            bytes=len(CONTENT),
        )

    yield weights
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_file_arrives_whole_with_progress(publish, tmp_path, events):
    weights = publish("whole")
    path = download(weights, tmp_path / "new/folder", Progress(emit=events.append))
    assert path == tmp_path / "new/folder" / weights.file
    assert path.read_bytes() == CONTENT
    assert [event["done"] for event in events] == [1 << 20, 2 << 20, len(CONTENT)]
    assert {(e["event"], e["step"], e["total"], e["unit"]) for e in events} == {
        ("progress", "choose", len(CONTENT), "bytes")
    }


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cut", f"cut short, {len(CONTENT) // 2} of {len(CONTENT)} bytes received"),
        (
            "other",
            f"its sha256 starts with {hashlib.sha256(b'not the file').hexdigest()[:8]}, "
            f"not with {hashlib.sha256(CONTENT).hexdigest()[:8]}",
        ),
        ("missing", "failed, HTTP Error 404: Not Found"),
        (
            "token",
            "failed, HTTP Error 401: Unauthorized. Fix: set HF_TOKEN, and pass it on: "
            'Transfer.config.environment = ["HF_TOKEN"]',
        ),
        (
            "proxy",
            "failed, HTTP Error 407: Proxy Authentication Required. Fix: pass the proxy with its password: "
            'Transfer.config.environment = ["HTTPS_PROXY"]',
        ),
    ],
)
def test_what_is_not_the_whole_file_leaves_nothing_behind(publish, tmp_path, path, message):
    with pytest.raises(DownloadFailed) as raised:
        download(publish(path), tmp_path, Progress())
    assert str(raised.value) == message
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_download_leaves_nothing_behind(publish, tmp_path):
    with pytest.raises(Cancelled):
        download(publish("whole"), tmp_path, Progress(cancelled=lambda: True))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_the_old_file(publish, tmp_path):
    weights = publish("cut")
    (tmp_path / weights.file).write_bytes(b"old")
    with pytest.raises(DownloadFailed):
        download(weights, tmp_path, Progress())
    assert (tmp_path / weights.file).read_bytes() == b"old"


def test_a_folder_that_is_a_file_can_not_be_written_to(publish, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as raised:
        download(publish("whole"), tmp_path / "file", Progress())
    assert (
        str(raised.value)
        == f"can't write to {tmp_path / 'file'}: File exists. Fix: set TRANSFER_HOME to a directory of yours"
    )


def test_weights_are_downloaded_once(publish, tmp_path, monkeypatch, events):
    monkeypatch.delenv("TRANSFER_OFFLINE")
    weights = publish("whole")
    net = msgspec.structs.replace(facts("resnet18"), name="net", default="V1", weights=(weights,))
    found = find_weights(net, progress=Progress(emit=events.append))
    assert found.path == tmp_path / "home/weights" / weights.file
    assert found.digest == hashlib.sha256(CONTENT).hexdigest()
    assert len(events) == 3
    assert find_weights(net, progress=Progress(emit=events.append)) == found
    assert len(events) == 3


def test_a_download_cut_short_is_told_among_the_places(publish, monkeypatch):
    monkeypatch.delenv("TRANSFER_OFFLINE")
    weights = publish("cut")
    net = msgspec.structs.replace(facts("resnet18"), name="net", default="V1", weights=(weights,))
    with pytest.raises(WeightsNotFound) as raised:
        find_weights(net)
    cause = f"  {weights.url}: cut short, {len(CONTENT) // 2} of {len(CONTENT)} bytes received"
    assert cause in str(raised.value).splitlines()


def test_offline_forbids_the_download(publish):
    weights = publish("whole")
    net = msgspec.structs.replace(facts("resnet18"), name="net", default="V1", weights=(weights,))
    with pytest.raises(WeightsNotFound, match="not tried, TRANSFER_OFFLINE is set"):
        find_weights(net)
