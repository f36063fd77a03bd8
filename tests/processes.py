"""The processes of a test."""

from contextlib import suppress
from pathlib import Path


def children():
    """The process ids, as text, of this process's children."""
    found = set()
    for file in Path("/proc/self/task").glob("*/children"):
        # The thread may end after it was listed: no such file, or no such process if the file is open.
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= set(file.read_text().split())
    return found
