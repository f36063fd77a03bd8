"""Forward Python warnings to the caller instead of standard error."""

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
def forward_warnings(warn: Warn) -> Iterator[None]:
    """Forward each `TransferWarning` of this thread to `warn` within the block.

    Warnings of libraries are not forwarded. As always in Python, a warning is issued once per process.
    `warnings.catch_warnings` would affect all threads.
    """
    warnings.showwarning = _forward
    before = _WARN.set(warn)
    try:
        yield
    finally:
        _WARN.reset(before)


def _forward(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    warn = _WARN.get()
    if warn and issubclass(category, TransferWarning):
        warn(str(message))
    else:
        _show(message, category, *where, **more)
