"""Detect out-of-memory exceptions."""

from __future__ import annotations

import re
import sys
from errno import ENOMEM

# Messages of glibc's loader, the system, torch, MPS, C++ and Python's threads.
_NO_MEMORY = re.compile(
    "failed to map segment from shared object|[Cc]annot allocate memory|can't allocate memory"
    "|MPS backend out of memory|std::bad_alloc|can't start new thread"
)


def lack_of_memory(error: BaseException) -> BaseException | None:
    """Find an out-of-memory exception: the error, or one of its causes, such as that of a failed import."""
    seen: set[int] = set()
    came_of: BaseException | None = error
    while came_of is not None and id(came_of) not in seen:
        if is_out_of_memory(came_of):
            return came_of
        seen.add(id(came_of))
        came_of = came_of.__cause__ or came_of.__context__
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this exception itself, without its causes, is an out-of-memory error."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == ENOMEM):
        return True
    # Failed library loads, CPU memory and MPS have no exception class of their own.
    if not isinstance(error, (ImportError, OSError, RuntimeError)):
        return False
    # Only a torch that is imported can have run out of memory.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return isinstance(error, getattr(cuda, "OutOfMemoryError", ())) or bool(_NO_MEMORY.search(text_of(error)))


def text_of(error: BaseException) -> str:
    """The message; empty if a foreign `__str__` raises, which must not hide the error."""
    try:
        return str(error)
    except Exception:
        return ""
