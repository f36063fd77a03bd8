"""The store of rows under crashes, damage and concurrent processes: a row may be lost, but is never wrong."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from cache.store_writer import OWNER, WIDTH, add, key, rows_of
from transfer_core.cache import RowStore
from transfer_core.runtime.errors import ConfigurationError


def run_sql(store, *statements):
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        return [db.execute(statement).fetchall() for statement in statements][-1]


def sqlite_files(store):
    return sorted(store.path.parent.glob(f"{store.path.name}*"))


def test_what_was_stored_is_found(store, find):
    assert find(store, 1, 2) == []
    add(store, 1, 2)
    assert find(store, 1, 2, 3) == [1, 2]
    assert find(store) == []
    add(store)
    assert find(RowStore(store.path), 2, 3, 2) == [2, 2]


def test_reading_from_nothing_makes_nothing(store, find, home):
    assert find(store, 1) == []
    assert not home.exists()


def test_more_rows_than_one_statement_takes(store, find):
    add(store, *range(1200))
    assert find(store, *range(1201)) == list(range(1200))


def test_owners_do_not_mix(store):
    store.add("first", [key(1)], rows_of([1]))
    store.add("second", [key(1)], rows_of([2]))
    for owner, expected in (("first", 1), ("second", 2), ("third", -1)):
        into = rows_of([-1])
        assert store.read(owner, [key(1)], into).tolist() == [expected > 0]
        assert (into == rows_of([expected])).all()


def test_rows_of_another_width_or_dtype_are_missed(store, find):
    add(store, 1)
    add(store, 2, width=WIDTH + 1)
    assert find(store, 1, 2) == [1]
    assert find(store, 1, 2, width=WIDTH + 1) == [2]
    half = np.zeros((1, WIDTH), np.float16)
    assert not store.read(OWNER, [key(1)], half).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", ">f4"])
def test_any_dtype(store, dtype):
    rows = np.random.default_rng(0).integers(0, 200, (50, 7)).astype(dtype)
    into = np.zeros_like(rows)
    store.add("any", [key(number) for number in range(50)], rows)
    assert store.read("any", [key(number) for number in reversed(range(50))], into).all()
    assert (into == rows[::-1]).all()


def test_a_row_that_is_added_again_is_there_once(store, find):
    add(store, 1, 2)
    add(store, 2, 3, 1)
    assert run_sql(store, "SELECT count(*) FROM rows") == [(3,)]
    assert find(store, 1, 2, 3) == [1, 2, 3]


# Damage.


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_gives_nothing_wrong_and_is_filled_again(store, find, share):
    add(store, *range(500))
    os.truncate(store.path, int(store.path.stat().st_size * share))
    find(store, *range(500))  # asserts that what is found is right
    for _ in range(2):
        add(store, *range(500))
    assert find(store, *range(500)) == list(range(500))


def noise(data):
    return os.urandom(len(data))


def noise_within(data):
    return data[:4096] + os.urandom(len(data) - 4096)


@pytest.mark.parametrize("damage", [noise, noise_within, lambda data: b"hello"])
def test_a_damaged_file_is_replaced(store, find, damage):
    add(store, *range(500))
    store.path.write_bytes(damage(store.path.read_bytes()))
    for _ in range(2):
        find(store, *range(500))
        add(store, *range(500))
    assert find(store, *range(500)) == list(range(500))


def test_every_damaged_byte_is_survived(store, find):
    add(store, *range(20))
    whole = store.path.read_bytes()
    for place in range(0, len(whole), 61):
        for file in sqlite_files(store):
            file.unlink()
        store.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        find(store, *range(20))  # asserts that what is found is right
        add(store, *range(20))
        find(store, *range(20))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rows SET content = zeroblob(length(content)) WHERE rowid = 2",
        "UPDATE rows SET content = substr(content, 2)",
        "UPDATE rows SET content = (SELECT content FROM rows WHERE rowid = 1)",
        "UPDATE rows SET content = 'text'",
        "UPDATE rows SET checksum = 'many'",
        "UPDATE rows SET batch = 99",
        "UPDATE batches SET used_at = 'today', most_bytes = 'many'",
        "DELETE FROM batches",
        "DROP TABLE rows",
        "DROP INDEX rows_of_batch",
        "ALTER TABLE rows RENAME COLUMN key TO clef",
        "CREATE TABLE others (x)",
    ],
)
def test_wrong_content_is_missed_and_stored_anew(store, find, damage):
    add(store, *range(5))
    run_sql(store, damage)
    for _ in range(2):
        found = find(store, *range(5))
        add(store, *(number for number in range(5) if number not in found))
    assert find(store, *range(5)) == [0, 1, 2, 3, 4]


def test_a_write_ahead_log_of_another_database(store, find):
    add(store, 1)
    for suffix in ("-wal", "-shm"):
        store.path.with_name(store.path.name + suffix).write_bytes(os.urandom(40_000))
    assert find(store, 1) == [1]
    add(store, 2)
    assert find(store, 1, 2) == [1, 2]


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_file_that_is_locked_can_be_read(store, find, monkeypatch, lock):
    monkeypatch.setattr("transfer_core.cache.database.PATIENCE_S", 0.01)
    add(store, 1)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(lock)
        add(store, 2)  # returns, although the lock is not released
        assert find(store, 1, 2) == [1]
    add(store, 2)
    assert find(store, 1, 2) == [1, 2]


# Places that can't be used.


@pytest.mark.parametrize("place", ["/proc/transfer", "/dev/null/transfer", "/dev/null", "/dev"])
def test_no_place_to_store(place, find):
    store = RowStore(Path(place))
    add(store, 1)
    assert find(store, 1) == []


@pytest.fixture
def public_folder():
    """A folder that a process without root's rights can reach; such rights are given back at the end."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    os.seteuid(os.getuid())
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o555), (0, 0o555), (0o600, 0)])
def test_a_place_without_rights_costs_time_only(public_folder, find, file_mode, folder_mode):
    store = RowStore(public_folder / "rows.sqlite")
    add(store, 1)
    store.path.chmod(file_mode)
    public_folder.chmod(folder_mode)
    if os.getuid() == 0:
        os.seteuid(65534)
    add(store, 2)
    assert 2 not in find(store, 1, 2)
    os.seteuid(os.getuid())
    public_folder.chmod(0o755)
    store.path.chmod(0o600)
    assert find(store, 1) == [1]


@pytest.mark.parametrize("largest", [100, 10_000, 60_000])
def test_a_full_disk(store, find, writer, largest):
    """A limit on the size of files is as good as a full disk, and needs no rights: writes become short."""
    process = writer(store, 0, 20, largest)
    assert len(process.communicate(timeout=60)[0].split()) == 20
    assert process.returncode == 0
    find(store, *range(400))  # asserts that what is found is right
    for _ in range(2):
        add(store, *range(400))
    assert find(store, *range(400)) == list(range(400))


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root's rights")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_keeps_what_it_has(small_disk, find):
    filler, store = small_disk / "filler", RowStore(small_disk / "rows.sqlite")
    filler.write_bytes(bytes(100_000))
    for start in range(0, 6000, 400):
        add(store, *range(start, start + 400))
        find(store, *range(6000))  # asserts that what is found is right
    filler.unlink()
    kept = find(store, *range(6000))
    assert 400 <= len(kept) < 6000
    assert kept == list(range(len(kept)))


# Several processes.


def test_three_processes_write_at_once(store, find, writer):
    processes = [writer(store, first, 15) for first in (0, 100, 10_000)]
    for process in processes:
        assert len(process.communicate(timeout=60)[0].split()) == 15
        assert process.returncode == 0
    expected = [*range(400), *range(10_000, 10_300)]
    assert find(store, *expected) == expected


@pytest.mark.parametrize("after_s", [0.0, 0.0007, 0.0013, 0.0029])
def test_a_writer_that_is_killed_loses_nothing_that_it_had_stored(store, find, writer, after_s):
    process = writer(store, 0, 100_000)
    assert process.stdout.readline() == "0\n"
    time.sleep(after_s)
    process.kill()
    stored = [0, *map(int, process.communicate()[0].splitlines())]
    assert process.returncode == -signal.SIGKILL
    found = find(store, *range(stored[-1] + 2000))
    assert found == list(range(len(found)))
    assert len(found) in (stored[-1] + 20, stored[-1] + 40)
    add(store, 1_000_000)
    assert find(store, 1_000_000) == [1_000_000]


def test_a_writer_that_is_stopped_blocks_no_reader(store, find, writer):
    process = writer(store, 0, 100_000)
    assert process.stdout.readline() == "0\n"
    process.send_signal(signal.SIGSTOP)
    assert find(store, *range(20)) == list(range(20))
    process.kill()
    process.communicate()
    add(store, 1_000_000)
    assert find(store, 1_000_000) == [1_000_000]


# Eviction.


def test_the_least_recently_used_rows_are_evicted(store, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "1.4MB")
    store = RowStore(store.path)
    keys, rows = [key(number) for number in range(300)], rows_of(range(300), 256)
    for owner in ("third", "second", "first"):
        run_sql(store, "UPDATE batches SET used_at = used_at - 1000") if store.path.exists() else None
        store.add(owner, keys, rows)
    store.read("third", keys[:1], rows[:1].copy())
    store.add("fourth", keys, rows)
    owners = ["first", "second", "third", "fourth"]
    known = [owner for owner in owners if store.read(owner, keys, rows.copy()).any()]
    assert known == ["first", "third", "fourth"]
    assert sum(path.stat().st_size for path in store.path.parent.iterdir()) <= 1_400_000


def test_the_rows_of_one_owner_are_evicted_oldest_first(store, find, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "600 kB")
    store = RowStore(store.path)
    for start in range(0, 8000, 500):
        add(store, *range(start, start + 500))
    found = find(store, *range(8000))
    assert 500 <= len(found) < 8000
    assert found == list(range(8000 - len(found), 8000))


def test_no_room_at_all(store, find, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "0")
    add(RowStore(store.path), 1)
    assert find(store, 1) == []


def test_a_limit_that_is_none(monkeypatch, store):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "10 apples")
    with pytest.raises(ConfigurationError) as error:
        RowStore(store.path)
    assert str(error.value) == 'TRANSFER_CACHE_LIMIT is a size such as 10GB or "none", got "10 apples"'


# Size.


def test_what_is_read_is_in_memory_once(store):
    """The peak of a process that reads 32 MB is 32 MB above that of one that reads nothing."""
    width, count = 1280, 6400
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    store.add(OWNER, [key(number) for number in range(count)], rows)
    script = f"""
import sys, numpy as np, resource
from pathlib import Path
from transfer_core.cache import RowStore
count = int(sys.argv[1])
into = np.empty((count, {width}), np.float32)
known = RowStore(Path({str(store.path)!r})).read({OWNER!r}, [f"{{i:064x}}" for i in range(count)], into)
assert known.all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, float(into.sum(dtype=np.float64)))
"""
    peaks = {}
    for number in (1, count):
        ran = subprocess.run(
            [sys.executable, "-c", script, str(number)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "python")},
        )
        peaks[number], total = map(float, ran.stdout.split())
        assert total == rows[:number].sum(dtype=np.float64)
    assert peaks[count] - peaks[1] < rows.nbytes + 20e6
