"""Those who share one worker: each has a connection, calls and memory of its own."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any, Literal, TypeVar

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.server import Method, Server
from transfer_core.worker.shared_memory import SharedMemory

# How long a client may take to introduce itself.
INTRODUCTION_S = 5.0
TAKEN, NO_MORE = b"+", b"-"
STANDARD_ERROR = 2

T = TypeVar("T")


class Clients:
    """Those who are connected. What they ask for at the same time is computed together (`serving.py`)."""

    def __init__(self, methods: Mapping[str, Method], warm_up: Callable[[], None]) -> None:
        self._methods = {
            name: replace(method, run=self._counted(method.run)) for name, method in methods.items()
        }
        self._warm_up = warm_up
        self._connected: set[Client] = set()
        self._changed = threading.Condition()
        self._left = time.monotonic()
        self.calls = 0
        # A forked child (a DataLoader's) that outlives us must not keep the connections open.
        os.register_at_fork(after_in_child=self._close)

    def welcome(self, line: socket.socket) -> None:
        """Serve who has connected, from a thread of its own; raises `RuntimeError` if there can be none."""
        client = Client(line)
        with self._changed:
            self._connected.add(client)
        try:
            threading.Thread(target=self._serve, args=[client], name="transfer-server", daemon=True).start()
        except RuntimeError:
            self._forget(client)
            raise

    def idle_s(self) -> float:
        """Seconds since the last one has left; 0 while there is one."""
        return 0 if self._connected else time.monotonic() - self._left

    def say_no_more(self) -> None:
        """Tell all that there are to be no more calls. Those in flight go on."""
        for client in list(self._connected):
            client.say_no_more()

    def hang_up(self) -> None:
        """Cancel all calls; they are answered before the connections end."""
        for client in list(self._connected):
            client.hang_up()

    def wait(self, timeout: float) -> bool:
        """True once all have left, False if they have not after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connected, timeout)

    def _close(self) -> None:
        for client in self._connected:
            client.close()

    def _serve(self, client: Client) -> None:
        try:
            client.serve(self._methods, self._warm_up)
        except ProtocolError as error:
            print(f"transfer_core.worker: protocol error: {error}", file=sys.stderr, flush=True)
        except OSError:
            pass  # it went, with bytes of ours unread
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        client.close()
        with self._changed:
            self._connected.remove(client)
            self._left = time.monotonic()
            self._changed.notify_all()

    def _counted(self, run: Callable[..., T]) -> Callable[..., T]:
        @wraps(run)
        def run_counted(call: Any, **params: Any) -> T:
            with self._changed:
                self.calls += 1
            return run(call, **params)

        return run_counted


class Client:
    """One process of Ruby's. On its line it introduces itself, and each side sees when the other has gone."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._connection: socket.socket | None = None
        self._files: list[int] = []
        self._state: Literal["new", "taken", "leaving"] = "new"
        self._state_lock = threading.Lock()

    def serve(self, methods: Mapping[str, Method], warm_up: Callable[[], None]) -> None:
        """Return when it has left, and nothing is computed for it any more.

        Raises
        ------
        ProtocolError
            If it is another user's process, or says what it should not.
        OSError
            If it went.
        """
        _check_user(self._line)
        self._connection, *files = self._meet()
        with self._state_lock:
            if self._state == "leaving":
                return
            socket.send_fds(self._line, [TAKEN], [STANDARD_ERROR])
            self._state = "taken"
        server = Server(self._connection, methods, warm_up, lost=lambda: None, memory=SharedMemory(*files))
        try:
            server.run()
        finally:
            server.end()

    def say_no_more(self) -> None:
        """It is to make no more calls; if it was not taken yet, it is not."""
        with self._state_lock:
            if self._state == "taken":
                with suppress(OSError):
                    self._line.send(NO_MORE, socket.MSG_DONTWAIT)
            self._state = "leaving"

    def hang_up(self) -> None:
        """Read nothing more from it."""
        for each in (self._connection, self._line):
            if each:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close all that we have of it."""
        for each in (self._connection, self._line):
            if each:
                each.close()
        while self._files:
            os.close(self._files.pop())

    def _meet(self) -> tuple[socket.socket, int, int]:
        """The socket and the two files that it sends."""
        self._line.settimeout(INTRODUCTION_S)
        try:
            said, self._files, *_ = socket.recv_fds(self._line, 1, 3, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise ProtocolError(f"a client said nothing for {INTRODUCTION_S:.0f} s") from None
        if not said:
            raise ConnectionError
        kinds = [stat.S_IFMT(os.fstat(each).st_mode) for each in self._files]
        if kinds != [stat.S_IFSOCK, stat.S_IFREG, stat.S_IFREG]:
            raise ProtocolError("a client did not send a socket and two files")
        connection = socket.socket(fileno=self._files.pop(0))
        connection.setblocking(True)
        return connection, self._files[0], self._files[1]


def _check_user(line: socket.socket) -> None:
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, user, _ = struct.unpack("iII", credentials)
    if user != os.geteuid():
        raise ProtocolError(f"process {pid} of user {user} was refused: this is user {os.geteuid()}'s worker")
