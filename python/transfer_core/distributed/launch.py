"""Start the processes of a group on this machine, follow them, and restart all of them if one ends.

Each process has a socket to this one, which carries its work, its events and its result. A process ends
itself when the socket closes, so none outlives this process, however that ends.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, TypeAlias

from transfer_core.runtime.devices import cores
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.progress import Progress
from transfer_core.sandbox.environment import own_package


@dataclass(frozen=True)
class Member:
    """Process number `rank` of `count`; the processes find each other through the file `store`."""

    rank: int
    count: int
    store: str


# The work of a process; the result of process 0 is returned.
Work: TypeAlias = Callable[[Member, Progress], Any]

MOST_RESTARTS = 3
# Exit status of a process that lost another one.
LOST = 75
# Time to find the process that ended first.
_SETTLE_S = 2.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Started:
    """A process and the connection to it."""

    process: subprocess.Popen[bytes]
    connection: Connection


class _Ended(Exception):
    """A process ended without a result."""


def run_in_processes(count: int, work: Work, progress: Progress, most_restarts: int = MOST_RESTARTS) -> Any:
    """Run `work` in `count` processes, and return the result of process 0.

    If a process ends without an error of its own (killed, out of memory), all are started again, up to
    `most_restarts` times: `work` must continue from what it has saved.

    Parameters
    ----------
    work
        Can be pickled.
    progress
        Receives the events of process 0 and the warnings of all. Once it is cancelled, all processes end.

    Raises
    ------
    ConfigurationError
        If processes ended too often.
    Exception
        That of the first process that raised one.
    """
    job = pickle.dumps(work)
    for restarts in range(most_restarts + 1):
        try:
            with _started(count, job) as started:
                return _result(started, progress)
        except _Ended as error:
            if restarts == most_restarts:
                raise ConfigurationError(
                    f"{error}, after {restarts} restarts. Fix: use fewer processes or a smaller batch_size, "
                    "if the log shows too little memory"
                ) from None
            progress.warning(f"{error}; all were restarted from the last checkpoint")


@contextmanager
def _started(count: int, job: bytes) -> Iterator[list[Started]]:
    """Start the processes; kill those that are left when the block ends."""
    started: list[Started] = []
    with TemporaryDirectory(prefix="transfer-group-", ignore_cleanup_errors=True) as folder:
        try:
            for rank in range(count):
                started.append(_start(Member(rank, count, str(Path(folder) / "store"))))
            for one in started:
                with suppress(OSError):  # it ended already
                    one.connection.send_bytes(job)
            yield started
        finally:
            for one in started:
                one.process.kill()
            for one in started:
                one.process.wait()
                one.connection.close()


def _start(member: Member) -> Started:
    ours, theirs = socket.socketpair()
    with theirs:
        descriptor = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "transfer_core.distributed.process", str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=_environment(member.count),
            cwd="/",  # which Python imports from
            pass_fds=[descriptor],
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
    connection = Connection(ours.detach())
    with suppress(OSError):  # it ended already
        connection.send_bytes(pickle.dumps((member, os.getcwd())))
    return Started(process, connection)


def _environment(count: int) -> dict[str, str]:
    threads = str(max(1, cores() // count))
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        # Without it gloo connects to the address of the machine's name, which may not exist.
        "GLOO_SOCKET_IFNAME": loopback,
        **os.environ,
        **own_package(),
        "TRANSFER_THREADS": threads,
        "OMP_NUM_THREADS": threads,
    }


def _result(started: Sequence[Started], progress: Progress) -> Any:
    """Forward events until process 0 has its result; raises `_Ended`, or the error of a process."""
    by_connection = {one.connection: one for one in started}
    while True:
        progress.check()
        for connection in wait(list(by_connection), _POLL_S):
            assert isinstance(connection, Connection)
            try:
                kind, value = pickle.loads(connection.recv_bytes())
            except (EOFError, OSError):
                raise _Ended(_first_ended(started)) from None
            if kind == "event":
                progress.emit(value)
            elif kind == "error":
                raise value
            elif connection is started[0].connection:
                return value
            else:
                del by_connection[connection]


def _first_ended(started: Sequence[Started]) -> str:
    """Describe the process that ended first: others end because they lost it."""
    deadline = monotonic() + _SETTLE_S
    while True:
        statuses = [one.process.poll() for one in started]
        for rank, status in enumerate(statuses):
            if status is not None and status != LOST:
                return f"process {rank + 1} of {len(started)} ended ({_described(status)})"
        if monotonic() > deadline:
            return f"a process of {len(started)} lost the connection to the others"
        with suppress(subprocess.TimeoutExpired):
            next(one for one in started if one.process.poll() is None).process.wait(_POLL_S)


def _described(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"signal {-status}, {signal.strsignal(-status)}"
