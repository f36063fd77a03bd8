"""Memory of this machine, or of the container where that gets less."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def machine_memory() -> tuple[int, int]:
    """Bytes in all, and those that can be had without swapping."""
    total = free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no control group, or one that says "max"
        limit = int((group / "memory.max").read_text())
        total = min(total, limit)
        free = min(free, limit - int((group / "memory.current").read_text()))
    return total, free
