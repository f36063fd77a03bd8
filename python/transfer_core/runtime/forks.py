"""Forks of a process whose C++ libraries have threads.

Their destructors join threads, which a fork does not have: the child would abort or wait for ever.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from weakref import WeakSet

_kept: WeakSet[object] = WeakSet()


@cache
def skip_destructors_in_forks() -> None:
    """Let forked children of this process exit without the destructors of C++ libraries.

    Exit handlers of Python and of a host program run before; the exit status is kept. Without glibc's
    `on_exit` the destructors run.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        # Registered by the child, it runs before the destructors that the parent has registered.
        os.register_at_fork(after_in_child=lambda: library.on_exit(library._exit, None))
    os.register_at_fork(after_in_child=_keep)


def keep_in_forks(value: object) -> None:
    """Never destroy `value` in a forked child of this process, not even at the end of Python."""
    _kept.add(value)


def _keep() -> None:
    for value in list(_kept):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
