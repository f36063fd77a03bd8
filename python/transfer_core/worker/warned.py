"""What Python warns of, told to the caller instead of standard error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from transfer_core.runtime.errors import TransferWarning

Warn: TypeAlias = Callable[[str], None]

_WARN: ContextVar[Warn | None] = ContextVar("warn", default=None)
_show = warnings.showwarning


@contextmanager
def warnings_to(warn: Warn) -> Iterator[None]:
    """Within, in this thread, a `TransferWarning` goes to `warn`; what libraries warn of among themselves
    stays where it was. As ever in Python, the same warning comes once per process.

    Not `warnings.catch_warnings`, which changes what all threads see.
    """
    warnings.showwarning = _tell
    before = _WARN.set(warn)
    try:
        yield
    finally:
        _WARN.reset(before)


def _tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    warn = _WARN.get()
    if warn and issubclass(category, TransferWarning):
        warn(str(message))
    else:
        _show(message, category, *where, **more)
