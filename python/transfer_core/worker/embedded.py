"""The worker as threads of a Python that somebody else's process has loaded (PyCall).

It serves the other end of a socket pair, like a worker process (`docs/reference/protocol.md`). So no thread
holds Python's lock while it waits for the host's, and none of the host's threads waits for Python.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.methods import METHODS, UNGATHERED, import_engines
from transfer_core.worker.process import wait_without_spinning
from transfer_core.worker.server import Method, Server
from transfer_core.worker.shared_memory import SharedMemory
from transfer_core.worker.turns import TURNS, in_turn


def methods_in_turn(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The worker's methods, of which one computes at a time, whoever asks; not those of the lane `serve`."""
    return {
        name: replace(method, run=in_turn(method.run, TURNS)) if _computes(name, method) else method
        for name, method in methods.items()
    }


def _computes(name: str, method: Method) -> bool:
    # The last two read a model: that draws weights first.
    return method.lane in ("compute", "evaluate") or name in ("save", "reload")


def serve(descriptor: int, its_memory: int, our_memory: int, ended: int, **settings: str | None) -> None:
    """Serve the socket `descriptor` from new threads, and return at once.

    The descriptors remain the caller's. `ended` is the end of a pipe; a byte is written to it when the socket
    has come to its end and nothing computes any more. `settings` are environment variables, None: unset.
    """
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    sys.stdout = sys.stderr  # what libraries print is not the host's output
    wait_without_spinning()
    copies = [os.dup(each) for each in (descriptor, its_memory, our_memory, ended)]
    threading.Thread(target=_serve, args=copies, name="transfer-server", daemon=True).start()


def _serve(descriptor: int, its_memory: int, our_memory: int, ended: int) -> None:
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(True)
    memory = SharedMemory(its_memory, our_memory)
    methods = methods_in_turn({**METHODS, **UNGATHERED})
    server = Server(connection, methods, import_engines, lost=lambda: None, memory=memory)
    try:
        server.run()
    except ProtocolError as error:
        print(f"transfer_core.worker: protocol error: {error}", file=sys.stderr, flush=True)
    except ConnectionError:
        pass  # Ruby closed its end with bytes of ours unread
    finally:
        server.end()
        connection.close()
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(ended, b".")
        for each in (its_memory, our_memory, ended):
            os.close(each)
