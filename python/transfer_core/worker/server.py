"""Read loop of a connection: one thread reads, others run the methods."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from socket import socket
from typing import Any, Literal, TypeAlias

import transfer_core
from transfer_core.runtime.errors import Cancelled, ProtocolError, did_you_mean
from transfer_core.worker.arguments import BadCall, bind
from transfer_core.worker.calls import Call, OutgoingRequests
from transfer_core.worker.failures import describe_failure
from transfer_core.worker.outbox import Outbox
from transfer_core.worker.protocol import (
    VERSION,
    Message,
    Notification,
    Request,
    Response,
    parse_message,
    read_frame,
    render_response,
)
from transfer_core.worker.shared_memory import SharedMemory

Job: TypeAlias = Callable[[], None]

WARM_UP_AFTER_S = 0.2


@dataclass(frozen=True)
class Method:
    """A method of the worker.

    Parameters
    ----------
    run
        Called as `run(call, **params)`; returns the result.
    lane
        Thread that runs it. `compute`, `evaluate` and `light` each run one call at a time; `now` runs in the
        reading thread, for calls that take microseconds; so does `serve`, where `run` returns a future.
    """

    run: Callable[..., Any]
    lane: Literal["now", "light", "compute", "evaluate", "serve"]


class Server:
    """Server of one connection.

    Parameters
    ----------
    connection
        Blocking socket to Ruby.
    methods
        The methods by name.
    warm_up
        Runs after `hello`, unless a computation is requested at once.
    lost
        Called from another thread that finds the connection closed.
    memory
        Shared memory for large arrays; None: they are sent through the socket.
    """

    def __init__(
        self,
        connection: socket,
        methods: Mapping[str, Method],
        warm_up: Job,
        lost: Job,
        memory: SharedMemory | None = None,
    ) -> None:
        self._stream = open(connection.fileno(), "rb", buffering=1 << 16, closefd=False)  # noqa: SIM115
        self._methods = methods
        self._warm_up = warm_up
        self._memory = memory
        self._outbox = Outbox(connection, lost)
        self._outgoing = OutgoingRequests(self._outbox)
        self._calls: dict[int, Call] = {}
        self._lanes: dict[str, Callable[[Job], None]] = {}
        self._open_futures = 0
        self._futures_changed = threading.Condition()

    def run(self) -> None:
        """Serve until the stream ends.

        Raises
        ------
        ProtocolError
            If Ruby violates the protocol; the connection can't be used any more.
        """
        if not self._handshake(self._read()):
            return
        self._lanes = {
            "now": lambda job: job(),
            "serve": lambda job: job(),
            "light": Lane("transfer-light", when_idle=lambda: None),
            "compute": Lane("transfer-compute", when_idle=self._warm_up_if_idle),
            "evaluate": Lane("transfer-evaluate", when_idle=lambda: None),
        }
        while (message := self._read()) is not None:
            match message:
                case Request(id, method, params):
                    self._open(Request(id, method, self._take_tensors(params)))
                case Response():
                    self._outgoing.receive(message)
                case Notification("cancel", {"call": int(id), **others}) if not others:
                    self._cancel(id)
                case Notification(method, params):
                    raise ProtocolError(f"unknown notification {method} {sorted(params)}")

    def end(self) -> None:
        """Cancel all calls, wait until they have stopped, and end all threads but this one."""
        for id in list(self._calls):
            self._cancel(id)
        for lane in self._lanes.values():
            if isinstance(lane, Lane):
                lane.end()
        with self._futures_changed:
            self._futures_changed.wait_for(lambda: not self._open_futures)
        self._outbox.close()

    def _warm_up_if_idle(self) -> None:
        if not self._open_futures:  # imports would slow down the requests that are open
            self._warm_up()

    def _read(self) -> Message | None:
        content = read_frame(self._stream)
        return None if content is None else parse_message(content)

    def _handshake(self, message: Message | None) -> bool:
        """Respond to `hello`; False if the stream ended before it."""
        match message:
            case None:
                return False
            case Request(id, "hello", {"protocol": int(), "gem_version": str()}):
                self._outbox.send(render_response(id, None, self._hello()))
                return True
        raise ProtocolError("the first message is not hello {protocol, gem_version}")

    def _hello(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "core_version": transfer_core.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "pid": os.getpid(),
            "capabilities": sorted(self._methods),
        }

    def _open(self, request: Request) -> None:
        if request.id in self._calls:
            raise ProtocolError(f"request {request.id} is already open")
        if request.method == "hello":
            raise ProtocolError("hello is only the first message")
        call = Call(request.id, self._outbox, self._outgoing)
        self._calls[request.id] = call
        method = self._methods.get(request.method)
        self._lanes[method.lane if method else "now"](partial(self._answer, call, request))

    def _take_tensors(self, params: dict[str, Any]) -> dict[str, Any]:
        # At once, even if the call is cancelled later: otherwise its blocks would never be freed.
        if not self._memory:
            return params
        return {word: self._memory.receive(value) for word, value in params.items()}

    def _answer(self, call: Call, request: Request) -> None:
        if not call.start():
            return
        try:
            result = self._perform(call, request)
        except BaseException as error:
            self._close(call, _render_failure(call.id, error))
            return
        if isinstance(result, Future):
            self._await_future(call, result)
        else:
            self._close(call, self._render(call, result))

    def _await_future(self, call: Call, future: Future[Any]) -> None:
        call.expect(future)
        with self._futures_changed:
            self._open_futures += 1
        future.add_done_callback(partial(self._close_with, call))

    def _close_with(self, call: Call, future: Future[Any]) -> None:
        try:
            error = Cancelled("cancelled") if future.cancelled() else future.exception()
            if error:
                self._close(call, _render_failure(call.id, error))
            else:
                self._close(call, self._render(call, future.result()))
            call.expect(None)  # otherwise a reference cycle keeps the inputs until garbage collection
        finally:
            with self._futures_changed:
                self._open_futures -= 1
                self._futures_changed.notify_all()

    def _render(self, call: Call, result: Any) -> bytes:
        try:
            return render_response(call.id, None, self._memory.share(result) if self._memory else result)
        except BaseException as error:
            return _render_failure(call.id, error)

    def _perform(self, call: Call, request: Request) -> Any:
        method = self._methods.get(request.method)
        if method is None:
            known = sorted(self._methods)
            nearest = did_you_mean(request.method, known)
            raise BadCall(f'unknown method "{request.method}"{nearest} (one of: {", ".join(known)})')
        return method.run(call, **bind(request.method, method.run, request.params))

    def _cancel(self, id: int) -> None:
        call = self._calls.get(id)
        if call and call.cancel():
            self._close(call, _render_failure(id, Cancelled("cancelled")))

    def _close(self, call: Call, frame: bytes) -> None:
        # Ruby may reuse the id once it has the response.
        del self._calls[call.id]
        call.answer(frame)


def _render_failure(id: int, error: BaseException) -> bytes:
    failure = describe_failure(error)
    try:
        return render_response(id, failure, None)
    except Exception:  # the details exceed a frame, or can't be serialized
        return render_response(id, {**failure, "details": {}}, None)


class Lane:
    """A thread with a FIFO queue of jobs.

    `when_idle` runs first, unless a job arrives within `WARM_UP_AFTER_S`: importing numpy would slow down the
    light calls of a short-lived worker.
    """

    def __init__(self, name: str, when_idle: Job) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=[when_idle], name=name, daemon=True)
        self._thread.start()

    def __call__(self, job: Job) -> None:
        """Queue `job`."""
        self._jobs.put(job)

    def end(self) -> None:
        """Run the queued jobs, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self, when_idle: Job) -> None:
        try:
            job = self._jobs.get(timeout=WARM_UP_AFTER_S)
        except Empty:
            when_idle()
            job = self._jobs.get()
        while job is not None:
            job()
            del job  # frees its arguments before a possibly long wait
            job = self._jobs.get()
