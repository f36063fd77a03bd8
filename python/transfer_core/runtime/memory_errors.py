"""Tell exceptions that say that memory ran out from all others."""

from __future__ import annotations

import re
import sys
from errno import ENOMEM

# As glibc's loader, the system, torch, MPS, C++ and Python's threads say it.
_NO_MEMORY = re.compile(
    "failed to map segment from shared object|[Cc]annot allocate memory|can't allocate memory"
    "|MPS backend out of memory|std::bad_alloc|can't start new thread"
)


def lack_of_memory(error: BaseException) -> BaseException | None:
    """The exception that says that memory ran out: the error, or one among its causes. A library that can't
    be imported for lack of memory is not missing."""
    seen: set[int] = set()
    came_of: BaseException | None = error
    while came_of is not None and id(came_of) not in seen:
        if is_out_of_memory(came_of):
            return came_of
        seen.add(id(came_of))
        came_of = came_of.__cause__ or came_of.__context__
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this very exception says that memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == ENOMEM):
        return True
    # Of a library that is not loaded, of a CPU's memory and of MPS there is no class to tell it by.
    if not isinstance(error, (ImportError, OSError, RuntimeError)):
        return False
    # Only a torch that is imported can have run out of memory.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return isinstance(error, getattr(cuda, "OutOfMemoryError", ())) or bool(_NO_MEMORY.search(text_of(error)))


def text_of(error: BaseException) -> str:
    """The message; empty for a foreign class whose `__str__` is broken, which must not hide the error."""
    try:
        return str(error)
    except Exception:
        return ""
