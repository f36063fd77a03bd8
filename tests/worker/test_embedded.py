"""The worker as threads of this process: what it serves, how it ends, and whose turn it is."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress
from transfer_core.worker import embedded
from transfer_core.worker.compute_lock import FairLock, exclusive
from transfer_core.worker.methods import METHODS, UNBATCHED
from transfer_core.worker.server import Method
from worker.client import PATIENCE_S, Client


class Embedded(Client):
    """A socket to threads of this process."""

    def __init__(self, **settings: str | None) -> None:
        self.socket, theirs = socket.socketpair()
        self.ended, ended = os.pipe()
        files = [os.memfd_create("test") for _ in range(2)]
        with theirs:
            theirs.setblocking(False)  # as Ruby leaves it
            embedded.serve(theirs.fileno(), *files, ended, **settings)
        for file in (*files, ended):
            os.close(file)
        self.socket.settimeout(PATIENCE_S)
        self._next_id = 1
        self._buffer = b""

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        assert self.has_ended(PATIENCE_S)
        os.close(self.ended)

    def has_ended(self, within_s: float) -> bool:
        return bool(select.select([self.ended], [], [], within_s)[0])


@pytest.fixture(autouse=True)
def process(leave_nothing_behind: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a server changes in the process is changed back, and its threads have ended."""
    before = set(threading.enumerate())
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setenv("TRANSFER_HOME", "/before")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[str]:
    """A training that ends when it is cancelled; what happens in it is noted."""
    noted: SimpleQueue[str] = SimpleQueue()

    def train(call: Any) -> None:
        noted.put("begun")
        try:
            while True:
                call.progress.check()
        finally:
            noted.put("ended")

    monkeypatch.setitem(METHODS, "train", Method(train, "compute"))
    monkeypatch.setitem(UNBATCHED, "predict", Method(lambda call: "red", "compute"))
    return noted


def test_it_answers_like_the_process_and_ends_with_the_socket() -> None:
    with Embedded() as worker:
        assert worker.hello()["pid"] == os.getpid()
        assert worker.call("ping") == "pong"
        assert worker.call("backbone", name="mobilenet_v2")["embedding_width"] == 1280
        assert worker.call("dance")["type"] == "RemoteError"
        assert not worker.has_ended(0)


def test_settings_are_environment_variables_that_none_unsets() -> None:
    with Embedded(TRANSFER_HOME="/elsewhere"):
        assert os.environ["TRANSFER_HOME"] == "/elsewhere"
    with Embedded(TRANSFER_HOME=None):
        assert "TRANSFER_HOME" not in os.environ


def test_the_end_of_the_socket_cancels_a_computation_and_waits_for_it(endless: SimpleQueue[str]) -> None:
    with Embedded() as worker:
        worker.hello()
        worker.request("train")
        assert endless.get(timeout=PATIENCE_S) == "begun"
    assert endless.get(timeout=0) == "ended"


def test_a_prediction_has_its_turn_within_a_training_of_another_socket(endless: SimpleQueue[str]) -> None:
    with Embedded() as trains, Embedded() as serves:
        trains.hello()
        serves.hello()
        training = trains.request("train")
        assert endless.get(timeout=PATIENCE_S) == "begun"
        assert serves.call("predict") == "red"
        assert endless.empty()
        trains.cancel(training)
        assert trains.response(training)["type"] == "Cancelled"


def test_breaking_the_protocol_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Embedded() as worker:
        worker.send("nonsense")
        assert list(worker.messages()) == []
        assert worker.has_ended(PATIENCE_S)
    assert capsys.readouterr().err == "transfer_core.worker: protocol error: not a message: 'nonsense'\n"


def test_who_waits_comes_in_order_and_the_holder_last() -> None:
    lock = FairLock()
    order: list[str] = []

    def wait_in_line(name: str) -> None:
        with lock:
            order.append(name)

    threads = []
    with lock:
        for name in ("first", "second"):
            threads.append(threading.Thread(target=wait_in_line, args=[name]))
            before = len(lock._waiting)
            threads[-1].start()
            while len(lock._waiting) == before:
                pass
        lock.yield_to_waiting()
        order.append("holder")
    for thread in threads:
        thread.join()
    assert order == ["first", "second", "holder"]


def test_another_thread_of_a_computation_passes_nothing_on() -> None:
    lock = FairLock()
    with lock:
        waiting = threading.Thread(target=lambda: lock.__enter__() or lock.__exit__())
        waiting.start()
        while not lock._waiting:
            pass
        helper = threading.Thread(target=lock.yield_to_waiting)
        helper.start()
        helper.join()
        assert waiting.is_alive()
    waiting.join()


def test_a_computation_that_waits_for_rows_leaves_the_turn_to_others() -> None:
    lock = FairLock()
    rows: SimpleQueue[str] = SimpleQueue()

    class Asking:
        progress = Progress()

        def rows(self, stream: str, modality: str) -> Iterator[str]:
            yield rows.get()

    read: list[str] = []
    method = exclusive(lambda call: read.extend(call.rows("s1")), lock)
    computing = threading.Thread(target=method, args=[Asking()])
    computing.start()
    with lock:  # it waits for a row
        rows.put("row")
    computing.join()
    assert read == ["row"]


def test_a_cancelled_computation_hears_of_it_in_turn() -> None:
    class Cancelling:
        progress = Progress(cancelled=lambda: True)

    lock = FairLock()
    with pytest.raises(Cancelled):
        exclusive(lambda call: call.progress.check(), lock)(Cancelling())
    with lock:
        pass  # it was given back
