"""A process that stores rows, 20 at a time, and prints a line for each time: to be killed, or competed with.

python store_writer.py PATH FIRST BATCHES [largest file in bytes]
"""

import resource
import signal
import sys
from pathlib import Path

import numpy as np

from transfer_core.cache import RowStore

WIDTH = 6
OWNER = "e" * 64


def key(number):
    return f"{number:064x}"


def rows_of(numbers, width=WIDTH):
    """Rows (N, width) that say which they are."""
    return np.arange(width, dtype=np.float32) + 1000 * np.array(numbers, np.float32)[:, None]


def add(store, *numbers, width=WIDTH):
    store.add(OWNER, [key(number) for number in numbers], rows_of(numbers, width))


if __name__ == "__main__":
    path, first, batches, *largest = sys.argv[1:]
    if largest:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest[0]), int(largest[0])))
    store = RowStore(Path(path))
    for start in range(int(first), int(first) + 20 * int(batches), 20):
        add(store, *range(start, start + 20))
        print(start, flush=True)
