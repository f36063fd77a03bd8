"""Total and available memory of this machine or its container."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def machine_memory() -> tuple[int, int]:
    """Total bytes, and bytes available without swapping; within the limit of a control group."""
    total = free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no control group, or an unlimited one ("max")
        limit = int((group / "memory.max").read_text())
        total = min(total, limit)
        free = min(free, limit - int((group / "memory.current").read_text()))
    return total, free
