"""`hello`, and every way to break the protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transfer_core import __version__
from transfer_core.worker.methods import METHODS
from worker.client import FAKE_WORKER, REAL_WORKER, ROOT, Client, environment, wait_until

USAGE = (
    "usage: python -m transfer_core.worker --fd N [--memory A,B] "
    "(Transfer starts it and passes a socket and two files)"
)
FILE = ROOT / "docs" / "reference" / "protocol_vectors.json"
VECTORS = {v["name"]: v for v in json.loads(FILE.read_text("utf-8"))}
MALFORMED = [
    "empty_frame",
    "frame_too_long",
    "longest_frame_cut_short",
    "cut_short_in_length",
    "cut_short_in_content",
    "trailing_bytes",
    "text_protocol",
    "invalid_utf8",
    "nested_2000_deep",
    "unknown_extension",
    "not_an_array",
]

Start = Callable[..., Client]


def test_hello_tells_versions_and_capabilities(start: Start) -> None:
    client = start(*REAL_WORKER)
    assert client.hello() == {
        "protocol": 1,
        "core_version": __version__,
        "python": "{}.{}.{}".format(*sys.version_info),
        "pid": client.process.pid,
        "capabilities": sorted(METHODS),
    }


def test_another_protocol_is_answered_so_that_ruby_can_compare(start: Start) -> None:
    assert start().call("hello", protocol=99, gem_version="9.0.0")["protocol"] == 1


def test_nothing_heavy_is_imported_for_the_handshake(worker: Client) -> None:
    assert worker.call("ping") == "pong"
    assert worker.call("heavy_modules") == []


def test_numpy_is_imported_while_ruby_prepares_its_first_call(start: Start) -> None:
    client = start(*REAL_WORKER)
    client.hello()
    maps = Path(f"/proc/{client.process.pid}/maps")
    wait_until(lambda: "_multiarray_umath" in maps.read_text(), "numpy to be loaded")
    wait_until(lambda: "_imaging" in maps.read_text(), "PIL to be loaded")
    assert "libtorch_cpu" not in maps.read_text()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_end_the_worker(worker: Client, name: str) -> None:
    worker.socket.sendall(bytes.fromhex(VECTORS[name]["hex"]))
    worker.socket.shutdown(socket.SHUT_WR)
    assert list(worker.messages()) == []
    assert worker.end() == (2, f"transfer_core.worker: protocol error: {VECTORS[name]['error']}\n")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ([0, 5, "hello", {"protocol": 1, "gem_version": "1"}], "hello is only the first message"),
        ([2, "stop", {"now": True}], "unknown notification stop ['now']"),
        ([2, "cancel", {}], "unknown notification cancel []"),
        ([2, "cancel", {"call": "1"}], "unknown notification cancel ['call']"),
        ([1, 7, None, 1], "a response to request 7, which is not open"),
    ],
)
def test_messages_out_of_place_end_the_worker(worker: Client, message: Any, error: str) -> None:
    worker.send(message)
    assert list(worker.messages()) == []
    assert worker.end() == (2, f"transfer_core.worker: protocol error: {error}\n")


@pytest.mark.parametrize(
    "message",
    [
        [0, 1, "ping", {}],
        [2, "cancel", {"call": 1}],
        [0, 1, "hello", {}],
        [0, 1, "hello", {"protocol": "1", "gem_version": "0.1.0"}],
    ],
)
def test_the_first_message_must_be_hello(start: Start, message: Any) -> None:
    client = start()
    client.send(message)
    assert list(client.messages()) == []
    error = "the first message is not hello {protocol, gem_version}"
    assert client.end() == (2, f"transfer_core.worker: protocol error: {error}\n")


def test_an_open_id_can_not_be_used_twice(worker: Client) -> None:
    worker.send([0, 9, "wait_for_cancel", {}])
    worker.send([0, 9, "ping", {}])
    list(worker.messages())
    assert worker.end() == (2, "transfer_core.worker: protocol error: request 9 is already open\n")


def test_an_answered_id_can_be_used_again(worker: Client) -> None:
    for _ in range(100):
        worker.send([0, 9, "echo", {"value": 1}])
        assert worker.read() == [1, 9, None, 1]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], USAGE),
        (["--fd", "x"], USAGE),
        (["--fd", "3", "4"], USAGE),
        (["--fd", "3", "--memory", "4"], USAGE),
        (["--fd", "999"], f"descriptor 999 is not an open socket (Bad file descriptor); {USAGE}"),
        (["--fd", "0"], f"descriptor 0 is not an open socket (Socket operation on non-socket); {USAGE}"),
    ],
)
def test_a_start_by_hand_explains_itself(arguments: list[str], error: str) -> None:
    command = [sys.executable, *FAKE_WORKER, *arguments]
    ended = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"transfer_core.worker: {error}\n"
