"""The feature store under crashes, damage and crowds: it may forget, but it never tells anything wrong."""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
import torch

from transfer_core.features import FeatureStore

WIDTH = 6
EXTRACTOR = "e" * 64


def row(number, width=WIDTH):
    return torch.arange(width, dtype=torch.float32) + 1000 * number


def key(number):
    return f"{number:064x}"


def rows(*numbers, width=WIDTH):
    return [(key(number), row(number, width)) for number in numbers]


def right(found):
    """Whether every row is the one that was stored under its key."""
    return all(torch.equal(tensor, row(int(image, 16), len(tensor))) for image, tensor in found.items())


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache" / "features.sqlite")


def find(store, *numbers, width=WIDTH):
    found = store.find(EXTRACTOR, [key(number) for number in numbers], width)
    assert right(found)
    return sorted(int(image, 16) for image in found)


def test_what_was_stored_is_found(store):
    assert find(store, 1, 2) == []
    store.add(EXTRACTOR, rows(1, 2))
    assert find(store, 1, 2, 3) == [1, 2]
    assert find(store) == []
    store.add(EXTRACTOR, [])
    assert find(FeatureStore(store.path), 2) == [2]


def test_its_place(home):
    FeatureStore().add(EXTRACTOR, rows(1))
    assert [path.name for path in (home / "cache").iterdir()] == ["features.sqlite"]


def test_a_tensor_that_is_found_can_be_changed(store):
    store.add(EXTRACTOR, rows(1))
    store.find(EXTRACTOR, [key(1)], WIDTH)[key(1)].zero_()
    assert find(store, 1) == [1]


def test_extractors_do_not_mix(store):
    store.add("first", [(key(1), row(1))])
    store.add("second", [(key(1), row(2))])
    assert torch.equal(store.find("first", [key(1)], WIDTH)[key(1)], row(1))
    assert torch.equal(store.find("second", [key(1)], WIDTH)[key(1)], row(2))
    assert store.find("third", [key(1)], WIDTH) == {}


def test_the_same_key_again_replaces(store):
    store.add(EXTRACTOR, [(key(1), row(2))])
    store.add(EXTRACTOR, rows(1))
    assert find(store, 1) == [1]


def test_rows_of_another_width_are_missed(store):
    store.add(EXTRACTOR, rows(1))
    store.add(EXTRACTOR, rows(2, width=WIDTH + 1))
    assert find(store, 1, 2) == [1]
    assert find(store, 1, 2, width=WIDTH + 1) == [2]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rows SET row = substr(row, 1, 23)",
        "UPDATE rows SET row = zeroblob(24)",
        "UPDATE rows SET row = 'text of 24 characters ..'",
        "UPDATE rows SET row = 7",
        "UPDATE rows SET checksum = 'none'",
        f"UPDATE rows SET image = '{key(2)}'",
    ],
)
def test_a_row_that_was_altered_is_missed_and_can_be_stored_anew(store, damage):
    store.add(EXTRACTOR, rows(1))
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        db.execute(damage)
    assert find(store, 1, 2) == []
    store.add(EXTRACTOR, rows(1, 2))
    assert find(store, 1, 2) == [1, 2]


def truncated(data):
    return data[: len(data) // 2]


def noise(data):
    return os.urandom(len(data))


def noise_within(data):
    return data[:4096] + os.urandom(len(data) - 4096)


def one_byte(data):
    return data[:100]


@pytest.mark.parametrize(
    "damage", [truncated, noise, noise_within, one_byte, lambda data: b"SQLite format 3\0"]
)
def test_a_damaged_file_is_mended(store, damage):
    store.add(EXTRACTOR, rows(*range(200)))
    store.path.write_bytes(damage(store.path.read_bytes()))
    for _ in range(3):  # damage may show itself only where it is read or written
        find(store, *range(200))
        store.add(EXTRACTOR, rows(*range(200)))
    assert find(store, *range(200)) == list(range(200))


def test_every_damaged_byte_is_noticed(store):
    store.add(EXTRACTOR, rows(*range(20)))
    whole = store.path.read_bytes()
    for place in range(0, len(whole), 97):
        for suffix in ("-wal", "-shm"):
            store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
        store.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        find(store, *range(20))  # asserts that what is found is right


def test_a_write_ahead_log_of_another_life(store):
    store.add(EXTRACTOR, rows(1))
    for suffix in ("-wal", "-shm"):
        store.path.with_name(store.path.name + suffix).write_bytes(os.urandom(40_000))
    find(store, 1)
    store.add(EXTRACTOR, rows(1, 2))
    assert find(store, 1, 2) == [1, 2]


@pytest.mark.parametrize("place", ["/proc/transfer", "/dev/null/transfer"])
def test_no_place_to_store(place):
    store = FeatureStore(Path(place) / "features.sqlite")
    store.add(EXTRACTOR, rows(1))
    assert find(store, 1) == []


def test_the_file_is_a_folder(tmp_path):
    store = FeatureStore(tmp_path)
    store.add(EXTRACTOR, rows(1))
    assert find(store, 1) == []


@pytest.fixture
def public_folder():
    """A folder that a process without root's rights can reach; such rights are given back at the end."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    os.seteuid(os.getuid())
    folder.chmod(0o755)
    shutil.rmtree(folder)


def give_up_privileges():
    if os.getuid() == 0:
        os.seteuid(65534)


def test_a_read_only_folder(public_folder):
    store = FeatureStore(public_folder / "features.sqlite")
    public_folder.chmod(0o555)
    give_up_privileges()
    store.add(EXTRACTOR, rows(1))
    assert find(store, 1) == []


def test_a_read_only_file(public_folder):
    store = FeatureStore(public_folder / "features.sqlite")
    store.add(EXTRACTOR, rows(1))
    store.path.chmod(0o444)
    public_folder.chmod(0o555)
    give_up_privileges()
    store.add(EXTRACTOR, rows(2))
    assert find(store, 2) == []
    os.seteuid(os.getuid())
    assert find(store, 1) == [1]


def test_a_full_disk(store, monkeypatch):
    """A limit on the size of files is as good as a full disk, and needs no rights."""
    import resource

    store.add(EXTRACTOR, rows(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        store.add(EXTRACTOR, rows(*range(2, 2000)))
        assert find(store, 1) == [1]
        assert len(find(store, *range(1, 2000))) in (1, 1999)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    store.add(EXTRACTOR, rows(*range(2, 2000)))
    assert len(find(store, *range(1, 2000))) == 1999


def writer(store, first, batches):
    """A process of its own that stores 20 rows at a time, and a pipe that has a byte for each time."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    status = 1
    try:
        for batch in range(batches):
            store.add(EXTRACTOR, rows(*range(first + 20 * batch, first + 20 * batch + 20)))
            os.write(writing, b".")
        status = 0
    finally:
        os._exit(status)


def read_to_the_end(pipe):
    with os.fdopen(pipe, "rb") as file:
        return file.read()


def test_two_processes_write_at_once(store):
    for process, pipe in [writer(store, first, 15) for first in (0, 10_000)]:
        assert len(read_to_the_end(pipe)) == 15
        assert os.waitpid(process, 0)[1] == 0
    assert len(find(store, *range(300), *range(10_000, 10_300))) == 600


@pytest.mark.parametrize("after_s", [0.0, 0.0007, 0.0013, 0.0029])
def test_a_writer_that_is_killed_loses_at_most_its_last_rows(store, after_s):
    process, pipe = writer(store, 0, 100_000)
    assert os.read(pipe, 1) == b"."
    time.sleep(after_s)
    os.kill(process, signal.SIGKILL)
    stored = 1 + len(read_to_the_end(pipe))
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    found = find(store, *range(20 * stored + 2000))
    assert found == list(range(len(found)))
    assert len(found) in (20 * stored, 20 * stored + 20)  # a batch is stored before it is told, whole
    store.add(EXTRACTOR, rows(1_000_000))
    assert find(store, 1_000_000) == [1_000_000]


def test_ten_thousand_rows_are_looked_up_in_a_moment(store):
    width = 1280
    store.add(EXTRACTOR, rows(*range(10_000), width=width))
    start = time.perf_counter()
    found = store.find(EXTRACTOR, [key(number) for number in range(10_000)], width)
    took_s = time.perf_counter() - start
    assert len(found) == 10_000
    assert right(found)
    assert took_s < 3  # 0.25 s on a quiet machine
