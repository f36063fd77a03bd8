"""Clients of a shared worker: each has its own connection, calls and shared memory."""

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

# Timeout of the handshake.
HANDSHAKE_S = 5.0
ACCEPTED, DRAIN = b"+", b"-"
STANDARD_ERROR = 2

T = TypeVar("T")


class Clients:
    """Registry of the connected clients, whose concurrent requests share batches (`serving.py`)."""

    def __init__(self, methods: Mapping[str, Method], warm_up: Callable[[], None]) -> None:
        self._methods = {
            name: replace(method, run=self._counted(method.run)) for name, method in methods.items()
        }
        self._warm_up = warm_up
        self._connected: set[Client] = set()
        self._changed = threading.Condition()
        self._last_left = time.monotonic()
        self.calls = 0
        # A forked child (of a DataLoader) that outlives the worker must not keep the connections open.
        os.register_at_fork(after_in_child=self._close)

    def add(self, line: socket.socket) -> None:
        """Serve a new connection from a new thread; raises `RuntimeError` if the system refuses one."""
        client = Client(line)
        with self._changed:
            self._connected.add(client)
        try:
            threading.Thread(target=self._serve, args=[client], name="transfer-server", daemon=True).start()
        except RuntimeError:
            self._forget(client)
            raise

    def idle_s(self) -> float:
        """Seconds since the last client disconnected; 0 while one is connected."""
        return 0 if self._connected else time.monotonic() - self._last_left

    def drain(self) -> None:
        """Ask all clients to send no more calls. Open calls continue."""
        for client in list(self._connected):
            client.drain()

    def disconnect(self) -> None:
        """Cancel all calls; each gets its response before the connections end."""
        for client in list(self._connected):
            client.disconnect()

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for all clients to disconnect; return whether they have."""
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
            pass  # it disconnected before it read everything
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        client.close()
        with self._changed:
            self._connected.remove(client)
            self._last_left = time.monotonic()
            self._changed.notify_all()

    def _counted(self, run: Callable[..., T]) -> Callable[..., T]:
        @wraps(run)
        def run_counted(call: Any, **params: Any) -> T:
            with self._changed:
                self.calls += 1
            return run(call, **params)

        return run_counted


class Client:
    """A Ruby process; its control socket `line` carries the handshake, and closes when either side ends."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._connection: socket.socket | None = None
        self._files: list[int] = []
        self._state: Literal["new", "accepted", "leaving"] = "new"
        self._state_lock = threading.Lock()

    def serve(self, methods: Mapping[str, Method], warm_up: Callable[[], None]) -> None:
        """Serve until the client has disconnected and its calls have ended.

        Raises
        ------
        ProtocolError
            If it is a process of another user, or violates the protocol.
        OSError
            If it has disconnected.
        """
        _check_user(self._line)
        self._connection, *files = self._handshake()
        with self._state_lock:
            if self._state == "leaving":
                return
            socket.send_fds(self._line, [ACCEPTED], [STANDARD_ERROR])
            self._state = "accepted"
        server = Server(self._connection, methods, warm_up, lost=lambda: None, memory=SharedMemory(*files))
        try:
            server.run()
        finally:
            server.end()

    def drain(self) -> None:
        """Ask the client to send no more calls; before its handshake, refuse it."""
        with self._state_lock:
            if self._state == "accepted":
                with suppress(OSError):
                    self._line.send(DRAIN, socket.MSG_DONTWAIT)
            self._state = "leaving"

    def disconnect(self) -> None:
        """Stop reading from the client."""
        for each in (self._connection, self._line):
            if each:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close its sockets and files."""
        for each in (self._connection, self._line):
            if each:
                each.close()
        while self._files:
            os.close(self._files.pop())

    def _handshake(self) -> tuple[socket.socket, int, int]:
        """Receive the socket and the two files of the client."""
        self._line.settimeout(HANDSHAKE_S)
        try:
            received, self._files, *_ = socket.recv_fds(self._line, 1, 3, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise ProtocolError(f"a client sent nothing for {HANDSHAKE_S:.0f} s") from None
        if not received:
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
