"""System calls that Python's standard library does not wrap."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Any

_PR_SET_NO_NEW_PRIVS = 38


def syscall(number: int, *arguments: Any) -> int:
    """Result of a system call of Linux; raises `OSError` as the kernel reports it."""
    _require_linux()
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise _last_error()
    return result


def no_new_privileges() -> None:
    """Rule out set-user-ID programs; the kernel requires it before a process confines itself."""
    _require_linux()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _last_error()


def _require_linux() -> None:
    if platform.system() != "Linux":  # other kernels have other calls under these numbers
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
