"""Embedded worker: threads in a Python that the host process has loaded (PyCall).

It serves one end of a socket pair, like a worker process (`docs/reference/protocol.md`). So no thread holds
the GIL while it waits for the host's lock, and no thread of the host waits for the GIL.
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
from transfer_core.worker.compute_lock import COMPUTE_LOCK, exclusive
from transfer_core.worker.methods import METHODS, UNBATCHED, import_engines
from transfer_core.worker.process import use_passive_openmp_wait
from transfer_core.worker.server import Method, Server
from transfer_core.worker.shared_memory import SharedMemory


def exclusive_methods(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Wrap the methods that compute to hold the compute lock; the lane `serve` is left out."""
    return {
        name: replace(method, run=exclusive(method.run, COMPUTE_LOCK)) if _computes(name, method) else method
        for name, method in methods.items()
    }


def _computes(name: str, method: Method) -> bool:
    # `save` and `reload` load a model, which draws from the global RNG.
    return method.lane in ("compute", "evaluate") or name in ("save", "reload")


def serve(descriptor: int, its_memory: int, our_memory: int, ended: int, **settings: str | None) -> None:
    """Serve the socket `descriptor` from new threads, and return at once.

    The caller keeps ownership of the descriptors.

    Parameters
    ----------
    descriptor
        Socket to serve.
    its_memory, our_memory
        Shared memory files of the host and of this worker.
    ended
        Write end of a pipe; receives a byte once the socket is closed and no computation runs.
    settings
        Environment variables; None unsets one.
    """
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    sys.stdout = sys.stderr  # libraries must not print to the host's output
    use_passive_openmp_wait()
    copies = [os.dup(each) for each in (descriptor, its_memory, our_memory, ended)]
    threading.Thread(target=_serve, args=copies, name="transfer-server", daemon=True).start()


def _serve(descriptor: int, its_memory: int, our_memory: int, ended: int) -> None:
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(True)
    memory = SharedMemory(its_memory, our_memory)
    methods = exclusive_methods({**METHODS, **UNBATCHED})
    server = Server(connection, methods, import_engines, lost=lambda: None, memory=memory)
    try:
        server.run()
    except ProtocolError as error:
        print(f"transfer_core.worker: protocol error: {error}", file=sys.stderr, flush=True)
    except ConnectionError:
        pass  # Ruby closed its end before it read everything
    finally:
        server.end()
        connection.close()
        with suppress(BrokenPipeError):  # the host no longer waits
            os.write(ended, b".")
        for each in (its_memory, our_memory, ended):
            os.close(each)
