import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache.store_writer import OWNER, WIDTH, key, rows_of
from transfer_core.cache import RowStore

HERE = Path(__file__).parent


@pytest.fixture
def store(home):
    return RowStore(home / "cache" / "features.sqlite")


@pytest.fixture
def find():
    """The numbers of the rows that a store finds; fails if one of them is wrong."""

    def find_rows(store, *numbers, width=WIDTH):
        into = rows_of([-1] * len(numbers), width)
        known = store.read(OWNER, [key(number) for number in numbers], into)
        expected = rows_of(
            [number if there else -1 for number, there in zip(numbers, known, strict=True)], width
        )
        assert (into == expected).all()
        return [number for number, there in zip(numbers, known, strict=True) if there]

    return find_rows


@pytest.fixture
def writer():
    """Start a process that stores rows."""
    python_path = os.pathsep.join([str(HERE.parents[1] / "python"), str(HERE.parent)])
    environment = {**os.environ, "PYTHONPATH": python_path}

    def start(store, first, batches, *largest):
        command = [sys.executable, HERE / "store_writer.py", store.path, first, batches, *largest]
        return subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment
        )

    return start
