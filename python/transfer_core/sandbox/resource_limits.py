"""Limits on the memory and the files of this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# All that a confined process still writes is its error output.
_LARGEST_FILE = 1 << 20
_FIRST_TO_END = 1000
# Reserved by the libraries and, per thread, by its stack; most of it is never touched.
_LIBRARIES, _STACK, _THREADS_PER_CORE, _OTHER_THREADS = 1 << 30, 8 << 20, 4, 32


def end_first() -> None:
    """Make the kernel end this process before others when memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_END))


def limit(memory: int) -> None:
    """Limit files to 1 MB, and memory to `memory` bytes beside the reserve of libraries and threads."""
    import resource

    threads = _THREADS_PER_CORE * (os.cpu_count() or 1) + _OTHER_THREADS
    values = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _LARGEST_FILE,
        resource.RLIMIT_DATA: _LIBRARIES + threads * _STACK + memory,
    }
    for which, value in values.items():
        hard = resource.getrlimit(which)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (lowest, lowest))
