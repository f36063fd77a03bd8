"""Methods whose answers come later, from threads that are not the server's."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from transfer_core.runtime.errors import DataError, Problem, RecipeError
from transfer_core.worker.outbox import LARGEST_BACKLOG
from transfer_core.worker.protocol import LARGEST_FRAME
from transfer_core.worker.server import Method, Server
from worker.client import PATIENCE_S, Client, wait_until


class Promising(Client):
    """A server in this process; the promises of its method `later` are ours to keep."""

    def __init__(self) -> None:
        self.socket, self._theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE_S)
        self._next_id = 1
        self._buffer = b""
        self.promises: list[Future[Any]] = []
        methods = {"later": Method(self._later, "serve"), "ping": Method(lambda call: "pong", "now")}
        self.server = Server(self._theirs, methods, lambda: None, lambda: None)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.hello()

    def later(self) -> tuple[int, Future[Any]]:
        """The id of a request, and its promise."""
        count = len(self.promises)
        id = self.request("later")
        wait_until(lambda: len(self.promises) > count, "the request to arrive")
        return id, self.promises[-1]

    def end_server(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def join(self, timeout: float = PATIENCE_S) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        for promise in self.promises:
            promise.cancel() or promise.done() or promise.set_result(None)
        self.socket.close()
        assert self.join()
        self._theirs.close()

    def _later(self, call: Any) -> Future[Any]:
        self.promises.append(Future())
        return self.promises[-1]

    def _run(self) -> None:
        with suppress(OSError):  # the test has closed its end
            self.server.run()
        self.server.end()


@pytest.fixture
def worker(leave_nothing_behind: None) -> Iterator[Promising]:
    before = set(threading.enumerate())
    client = Promising()
    yield client
    client.close()
    for thread in set(threading.enumerate()) - before:  # those of its outbox
        thread.join(PATIENCE_S)


def test_a_promise_is_answered_when_it_is_kept_and_holds_nobody_up(worker: Promising) -> None:
    first, promise = worker.later()
    second, other = worker.later()
    assert worker.call("ping") == "pong"
    other.set_result({"a": 1})
    assert worker.read() == [1, second, None, {"a": 1}]
    promise.set_exception(DataError("no photo", "a.jpg"))
    kind, id, error, result = worker.read()
    assert (kind, id, result) == (1, first, None)
    assert (error["type"], error["message"], error["details"]) == ("DataError", "no photo", {"path": "a.jpg"})


def test_what_can_not_be_sent_is_an_error_of_its_call(worker: Promising) -> None:
    _, promise = worker.later()
    promise.set_result(object())
    assert worker.read()[2]["message"] == "a object can't be sent"
    assert worker.call("ping") == "pong"


def test_a_failure_whose_details_are_too_many_for_a_frame_goes_without(worker: Promising) -> None:
    _, promise = worker.later()
    problems = [Problem("", "x" * 8000)] * (LARGEST_FRAME // 8000)
    promise.set_exception(RecipeError(problems))
    error = worker.read()[2]
    assert (error["type"], error["details"]) == ("RecipeError", {})
    worker.end_server()
    assert worker.join()


def test_a_cancel_cancels_a_promise_that_nobody_has_begun_with(worker: Promising) -> None:
    id, promise = worker.later()
    worker.cancel(id)
    assert worker.response(id)["type"] == "Cancelled"
    assert promise.cancelled()
    begun, promise = worker.later()
    promise.set_running_or_notify_cancel()
    worker.cancel(begun)
    assert worker.call("ping") == "pong"
    promise.set_result("done")
    assert worker.read() == [1, begun, None, "done"]


def test_who_keeps_a_promise_never_waits_for_a_reader_that_sleeps(worker: Promising) -> None:
    asked = [worker.later() for _ in range(4)]
    for _, promise in asked:
        promise.set_result(b"x" * LARGEST_BACKLOG)
    for _ in asked:
        assert len(worker.read()[3]) == LARGEST_BACKLOG


def test_the_server_ends_when_all_promises_are_kept(worker: Promising) -> None:
    _, waiting = worker.later()
    id, begun = worker.later()
    begun.set_running_or_notify_cancel()
    worker.end_server()
    wait_until(waiting.cancelled, "what nobody has begun with to be cancelled")
    assert not worker.join(0.1)
    begun.set_result("done")
    assert worker.join()
    assert [worker.read()[1] for _ in range(2)][-1] == id


def test_nothing_of_a_call_is_kept_after_its_answer(worker: Promising) -> None:
    gc.collect()
    gc.disable()  # what is kept in a circle would be found by it, some time
    try:
        id, promise = worker.later()
        seen = weakref.ref(promise)
        promise.set_result("done")
        assert worker.response(id) == "done"
        worker.promises.clear()
        del promise
        wait_until(lambda: seen() is None, "the promise to go")
    finally:
        gc.enable()
