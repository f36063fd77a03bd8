"""Process setup of the worker, before any import that could print or start threads."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
from typing import Any

# Above the descriptors that libraries and their children are likely to close by number.
LOWEST_DESCRIPTOR = 64
PR_SET_PDEATHSIG = 1


def adopt_socket(descriptor: int) -> socket.socket:
    """Take over the inherited socket, safe from libraries that print and from child processes.

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
    """Redirect standard input to /dev/null, and standard output to standard error."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def ignore_interrupts() -> None:
    """Ignore SIGINT: Ctrl-C reaches every process of the terminal, and Ruby cancels the calls."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_with_parent() -> None:
    """Exit when the parent process ends, even if another process holds its end of the socket.

    Linux sends the signal when the parent's *thread* ends, at which Ruby may continue (prctl(2),
    PR_SET_PDEATHSIG). So the signal is not SIGKILL but one whose handler checks for a new parent.
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
    """Continue in a detached child process, without a terminal, in the root directory.

    Returns in the child only; the process that was started exits with status 0.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")


def resident_memory() -> int:
    """Resident set size of this process in bytes. Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def use_passive_openmp_wait() -> None:
    """Make OpenMP threads sleep instead of spin while they wait, unless the user has set the policy.

    Spinning threads take the cores from Ruby and from the thread that they wait for: on a busy machine a
    training is several times slower. Must be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
