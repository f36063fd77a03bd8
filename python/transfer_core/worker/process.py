"""What the worker does to its own process, before anything that could print or start threads is imported."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
from typing import Any

# Above what libraries and their children are likely to open and close by number.
LOWEST_DESCRIPTOR = 64
PR_SET_PDEATHSIG = 1


def take_socket(descriptor: int) -> socket.socket:
    """The inherited socket, out of reach of libraries that print to standard output and of our children.

    Raises
    ------
    OSError
        If `descriptor` is not an open socket.
    """
    safe = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
    connection = socket.socket(fileno=safe)
    # Ruby's sockets are non-blocking, and that outlives the exec.
    connection.setblocking(True)
    if descriptor > 2:
        os.close(descriptor)
    print_to_standard_error()
    # A forked child (a DataLoader's) that outlives us must not keep the connection open.
    os.register_at_fork(after_in_child=lambda: os.close(safe))
    return connection


def print_to_standard_error() -> None:
    """Standard input becomes empty, standard output becomes standard error."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def leave_signals_to_ruby() -> None:
    """Ctrl-C goes to every process of the terminal; Ruby decides what it means for a call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_with_parent() -> None:
    """Leave when the process that started us is gone, even if someone else holds its end of the socket.

    Linux sends the signal when the parent's *thread* ends, which for Ruby is no reason to stop (prctl(2),
    PR_SET_PDEATHSIG). So it is not SIGKILL but one that we can answer by looking who our parent is now.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()

    def leave_if_orphaned(*_: Any) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGHUP, leave_if_orphaned)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0)
    leave_if_orphaned()


def become_daemon() -> None:
    """Go on in a child that nobody waits for, without a terminal, holding no folder.

    Returns in the child alone: who started us sees us end with status 0.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")


def resident_memory() -> int:
    """Bytes of this process that are in memory. Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_without_spinning() -> None:
    """Have torch's threads sleep while they wait for each other, unless the user's settings say otherwise.

    By default OpenMP's threads spin, which takes the cores from Ruby, and from the very thread that is
    waited for: on a machine with other work a training is several times slower. Must come before torch.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
