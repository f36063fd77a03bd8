"""Open calls: progress events, row streams, cancellation and the response."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import count
from queue import SimpleQueue
from typing import Any, Literal

from transfer_core.runtime.errors import Cancelled, DataError, ProtocolError
from transfer_core.runtime.progress import Event, Progress
from transfer_core.worker.outbox import Outbox
from transfer_core.worker.protocol import LARGEST_ID, Response, render_notification, render_request

ROWS_AT_ONCE = 64


class Call:
    """An open request from Ruby."""

    def __init__(self, id: int, outbox: Outbox, outgoing: OutgoingRequests) -> None:
        self.id = id
        self.progress = Progress(self._emit, self._is_cancelled)
        self._outbox = outbox
        self._outgoing = outgoing
        self._cancelled = False
        self._future: Future[Any] | None = None
        self._state: Literal["waiting", "running", "abandoned"] = "waiting"
        self._state_lock = threading.Lock()
        self._answered = False
        self._answer_lock = threading.Lock()

    def rows(self, stream: str, modality: str = "image") -> Iterator[dict[str, Any]]:
        """Yield the rows of a stream of Ruby's, with inputs of that modality, fetched in batches on demand.

        Raises
        ------
        DataError
            If Ruby fails to read them.
        Cancelled
            If the call is cancelled meanwhile.
        """
        done = False
        while not done:
            params = {"stream": stream, "max": ROWS_AT_ONCE, "modality": modality}
            response = self._outgoing.request(self, "next_rows", params)
            if response.error is not None:
                raise _rows_failure(stream, response.error)
            rows, done = _check_rows(response.result)
            yield from rows

    def start(self) -> bool:
        """Mark the call as running; False if it was cancelled before."""
        with self._state_lock:
            if self._state == "waiting":
                self._state = "running"
        return self._state == "running"

    def expect(self, future: Future[Any] | None) -> None:
        """Cancel `future`, which resolves to the response, when the call is cancelled."""
        self._future = future

    def cancel(self) -> bool:
        """Request cancellation; True if the call has not started, and now never will."""
        self._cancelled = True
        self._outgoing.abandon(self)
        if future := self._future:
            future.cancel()
        with self._state_lock:
            if self._state == "waiting":
                self._state = "abandoned"
        return self._state == "abandoned"

    def answer(self, frame: bytes) -> None:
        """Send the response; later events, from threads that still run, are dropped."""
        with self._answer_lock:
            self._answered = True
        if self._future:  # resolved by a thread that serves other clients, too
            self._outbox.send_without_blocking(frame)
        else:
            self._outbox.send(frame)

    def _emit(self, event: Event) -> None:
        frame = render_notification("event", {"call": self.id, "event": event})
        with self._answer_lock:
            if self._answered:
                return
            if event["event"] in ("progress", "overall"):
                self._outbox.send_latest(frame, (self.id, event["event"], event.get("step")))
            else:
                self._outbox.send(frame)

    def _is_cancelled(self) -> bool:
        return self._cancelled


class OutgoingRequests:
    """Open requests from the worker to Ruby."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._ids = count(1)
        self._open: dict[int, tuple[Call, SimpleQueue[Response | None]]] = {}
        self._lock = threading.Lock()

    def request(self, call: Call, method: str, params: dict[str, Any]) -> Response:
        """Send a request and wait for its response; raises `Cancelled` when `call` is cancelled."""
        reply: SimpleQueue[Response | None] = SimpleQueue()
        with self._lock:
            call.progress.check()
            id = next(self._ids) & LARGEST_ID
            self._open[id] = (call, reply)
        self._outbox.send(render_request(id, method, params))
        response = reply.get()
        if response is None:
            raise Cancelled("cancelled")
        return response

    def receive(self, response: Response) -> None:
        """Pass a response to the waiting thread; raises `ProtocolError` if its request is not open."""
        with self._lock:
            if response.id not in self._open:
                raise ProtocolError(f"a response to request {response.id}, which is not open")
            _, reply = self._open.pop(response.id)
        reply.put(response)

    def abandon(self, call: Call) -> None:
        """Wake the threads that wait on behalf of `call`. Their requests stay open until Ruby responds."""
        with self._lock:
            for caller, reply in self._open.values():
                if caller is call:
                    reply.put(None)


def _rows_failure(stream: str, error: dict[str, Any]) -> Exception:
    if error["type"] == "Cancelled":
        return Cancelled(error["message"])
    return DataError(f'the rows of stream "{stream}" can\'t be read: {error["message"]}')


def _check_rows(result: Any) -> tuple[list[dict[str, Any]], bool]:
    match result:
        case {"rows": [*rows], "done": bool(done)} if all(isinstance(row, dict) for row in rows):
            return rows, done
    raise ProtocolError("the result of next_rows is not {rows: [maps], done: boolean}")
