"""What a method sees of its caller: a call to tell events to, to ask for rows, and that may be cancelled."""

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
    """One open request of Ruby's."""

    def __init__(self, id: int, outbox: Outbox, questions: Questions) -> None:
        self.id = id
        self.progress = Progress(self._emit, self._is_cancelled)
        self._outbox = outbox
        self._questions = questions
        self._cancelled = False
        self._promise: Future[Any] | None = None
        self._turn: Literal["waiting", "running", "never"] = "waiting"
        self._turn_lock = threading.Lock()
        self._answered = False
        self._answer_lock = threading.Lock()

    def rows(self, stream: str, modality: str = "image") -> Iterator[dict[str, Any]]:
        """The rows of a stream of Ruby's, with inputs of that modality, fetched as they are consumed.

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
            answer = self._questions.ask(self, "next_rows", params)
            if answer.error is not None:
                raise _rows_failure(stream, answer.error)
            rows, done = _check_rows(answer.result)
            yield from rows

    def start(self) -> bool:
        """False if the call was cancelled before its turn."""
        with self._turn_lock:
            if self._turn == "waiting":
                self._turn = "running"
        return self._turn == "running"

    def expect(self, promise: Future[Any] | None) -> None:
        """A cancel is to cancel `promise`, from which the answer will come."""
        self._promise = promise

    def cancel(self) -> bool:
        """Ask the call to stop; True if it has not begun, and now never will."""
        self._cancelled = True
        self._questions.abandon(self)
        if promise := self._promise:
            promise.cancel()
        with self._turn_lock:
            if self._turn == "waiting":
                self._turn = "never"
        return self._turn == "never"

    def answer(self, frame: bytes) -> None:
        """Send the response; events that come later, from some thread left behind, are dropped."""
        with self._answer_lock:
            self._answered = True
        if self._promise:  # it is kept by a thread that works for others as well
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


class Questions:
    """The worker's own open requests to Ruby."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._ids = count(1)
        self._open: dict[int, tuple[Call, SimpleQueue[Response | None]]] = {}
        self._lock = threading.Lock()

    def ask(self, call: Call, method: str, params: dict[str, Any]) -> Response:
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
        """Hand a response to the thread that waits for it; raises `ProtocolError` if nobody asked."""
        with self._lock:
            if response.id not in self._open:
                raise ProtocolError(f"a response to request {response.id}, which is not open")
            _, reply = self._open.pop(response.id)
        reply.put(response)

    def abandon(self, call: Call) -> None:
        """Wake the threads that wait on behalf of `call`. Their requests stay open until Ruby answers."""
        with self._lock:
            for asker, reply in self._open.values():
                if asker is call:
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
