"""One process of a group on this machine, started by `launch`."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import Any

from transfer_core.distributed.launch import LOST, Member
from transfer_core.runtime.errors import OutOfMemory, TransferError
from transfer_core.runtime.memory_errors import lack_of_memory
from transfer_core.runtime.progress import Event, Progress
from transfer_core.training.processes import LostProcess


def main(descriptor: int) -> None:
    """Receive the work over the inherited socket `descriptor`, do it, and send its result.

    Pickles come from the parent process alone, over a socket that no other process has.
    """
    connection, lock = Connection(descriptor), Lock()
    member, folder = pickle.loads(connection.recv_bytes())
    assert isinstance(member, Member)
    work = connection.recv_bytes()
    os.chdir(folder)
    Thread(target=_end_with_parent, args=(connection,), daemon=True).start()

    def send(kind: str, value: Any) -> None:
        with lock:
            # Not `send`, for which torch replaces tensors by descriptors of shared memory.
            connection.send_bytes(pickle.dumps((kind, value)))

    def emit(event: Event) -> None:
        if member.rank == 0 or event["event"] == "warning":
            send("event", event)

    try:
        result = pickle.loads(work)(member, Progress(emit))
        send("result", result if member.rank == 0 else None)
    except LostProcess:
        os._exit(LOST)
    except BaseException as error:
        traceback.print_exc()
        send("error", _sendable(error))


def _end_with_parent(connection: Connection) -> None:
    """Exit when the parent process ends or closes the connection; it sends nothing after the work."""
    try:
        connection.recv_bytes()
    finally:
        os._exit(LOST)


def _sendable(error: BaseException) -> Exception:
    if isinstance(error, TransferError):
        return error
    if lack := lack_of_memory(error):
        return OutOfMemory(f"out of memory ({lack}). Fix: use a smaller batch_size or fewer processes")
    return RuntimeError("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
