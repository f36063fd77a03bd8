"""`python -m transfer_core.worker --fd N`: serve Ruby over the socket that it left open as descriptor N."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from transfer_core.errors import ProtocolError
from transfer_core.worker.methods import METHODS, import_engines
from transfer_core.worker.process import (
    die_with_parent,
    keep_freed_memory,
    leave_signals_to_ruby,
    take_socket,
    wait_without_spinning,
)
from transfer_core.worker.server import Method, Server
from transfer_core.worker.tensors import delete_unread_files

USAGE = "usage: python -m transfer_core.worker --fd N (Transfer starts it and passes a socket)"


def main(
    arguments: list[str],
    methods: Mapping[str, Method] = METHODS,
    warm_up: Callable[[], None] = import_engines,
) -> NoReturn:
    """Serve, then leave without waiting for any thread: a computation must not outlive its caller."""
    leave_signals_to_ruby()
    die_with_parent()
    keep_freed_memory()
    wait_without_spinning()
    match arguments:
        case ["--fd", number] if number.isdecimal():
            descriptor = int(number)
        case _:
            _leave(2, USAGE)
    try:
        connection = take_socket(descriptor)
    except OSError as error:
        _leave(2, f"descriptor {descriptor} is not an open socket ({error.strerror}); {USAGE}")
    try:
        Server(connection, methods, warm_up, lost=lambda: _leave(0)).run()
    except ProtocolError as error:
        _leave(2, f"protocol error: {error}")
    except ConnectionError:
        pass  # Ruby closed its end with bytes of ours unread
    _leave(0)


def _leave(status: int, message: str | None = None) -> NoReturn:
    if message:
        print(f"transfer_core.worker: {message}", file=sys.stderr, flush=True)
    with suppress(OSError):
        delete_unread_files()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
