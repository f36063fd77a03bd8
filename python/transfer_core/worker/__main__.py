"""`python -m transfer_core.worker --fd N --memory A,B`: serve Ruby over inherited descriptors.

With `--listen`, serve several processes (`shared_worker.py`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from transfer_core.runtime.allocator import keep_freed_memory
from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.methods import METHODS, import_engines
from transfer_core.worker.process import (
    adopt_socket,
    die_with_parent,
    ignore_interrupts,
    use_passive_openmp_wait,
)
from transfer_core.worker.server import Method, Server
from transfer_core.worker.shared_memory import adopt_shared_memory

USAGE = (
    "usage: python -m transfer_core.worker --fd N [--memory A,B] "
    "(Transfer starts it and passes a socket and two files)"
)


def main(
    arguments: list[str],
    methods: Mapping[str, Method] = METHODS,
    warm_up: Callable[[], None] = import_engines,
) -> NoReturn:
    """Serve until the connection ends, then exit without joining threads: no computation outlives Ruby."""
    ignore_interrupts()
    keep_freed_memory()
    use_passive_openmp_wait()
    if "--listen" in arguments:
        from transfer_core.worker.shared_worker import listen

        listen(arguments, methods, warm_up)
    die_with_parent()
    match re.fullmatch(r"--fd (\d+)(?: --memory (\d+),(\d+))?", " ".join(arguments)):
        case None:
            _exit(2, USAGE)
        case given:
            descriptor, *files = [int(number) for number in given.groups() if number]
    try:
        connection = adopt_socket(descriptor)
    except OSError as error:
        _exit(2, f"descriptor {descriptor} is not an open socket ({error.strerror}); {USAGE}")
    try:
        memory = adopt_shared_memory(*files) if files else None
    except OSError as error:
        _exit(2, f"descriptors {files} are not open files ({error.strerror}); {USAGE}")
    try:
        Server(connection, methods, warm_up, lambda: _exit(0), memory).run()
    except ProtocolError as error:
        _exit(2, f"protocol error: {error}")
    except ConnectionError:
        pass  # Ruby closed its end before it read everything
    _exit(0)


def _exit(status: int, message: str | None = None) -> NoReturn:
    if message:
        print(f"transfer_core.worker: {message}", file=sys.stderr, flush=True)
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
