"""The store under crashes, damage and crowds: it may forget, but it never tells anything wrong."""

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
from transfer_core.cache.layout import Layout
from transfer_core.runtime.errors import ConfigurationError

HEADER, STRIDE = 64, 32 + 4 * WIDTH + 4


def rows_files(store):
    return sorted(store.folder.glob("*.rows"))


def rows_file(store):
    (path,) = rows_files(store)
    return path


def sqlite_files(store):
    return sorted(store.folder.glob("index.sqlite*"))


def test_what_was_stored_is_found(store, find):
    assert find(store, 1, 2) == []
    add(store, 1, 2)
    assert find(store, 1, 2, 3) == [1, 2]
    assert find(store) == []
    add(store)
    assert find(RowStore(store.folder), 2, 3, 2) == [2, 2]
    assert rows_file(store).stat().st_size == HEADER + 2 * STRIDE


def test_reading_from_nothing_makes_nothing(store, find, home):
    assert find(store, 1) == []
    assert not home.exists()


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


def test_a_row_that_is_there_is_not_stored_again(store, find):
    add(store, 1, 2)
    add(store, 2, 3, 1)
    assert rows_file(store).stat().st_size == HEADER + 3 * STRIDE
    assert find(store, 1, 2, 3) == [1, 2, 3]


# Damage to rows files.


@pytest.mark.parametrize(
    "size",
    [
        *(0, 1, HEADER - 1, HEADER, HEADER + 1),
        *(HEADER + 3 * STRIDE + offset for offset in (-5, -1, 0, 1, 31, 32, 33, STRIDE - 4, STRIDE - 1)),
    ],
)
def test_a_truncated_rows_file_loses_what_was_cut_off(store, find, size):
    add(store, *range(6))
    os.truncate(rows_file(store), size)
    left = list(range(Layout.of(OWNER, rows_of([0])).rows_in(size)))
    assert find(store, *range(6)) == left
    add(store, 10, 11)
    assert find(store, *range(12)) == [*left, 10, 11]
    add(store, *range(6))
    assert find(store, *range(12)) == [0, 1, 2, 3, 4, 5, 10, 11]


def test_every_damaged_byte_of_a_rows_file_is_noticed(store, find):
    add(store, *range(4))
    path = rows_file(store)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        for index in sqlite_files(store):
            index.unlink()
        damaged = (place - HEADER) // STRIDE
        assert find(store, *range(4)) == ([i for i in range(4) if i != damaged] if damaged >= 0 else [])


def test_a_damaged_row_is_computed_and_stored_anew(store, find):
    add(store, *range(4))
    with open(rows_file(store), "r+b") as file:
        file.seek(HEADER + 2 * STRIDE + 40)
        file.write(b"\xff")
    assert find(store, *range(4)) == [0, 1, 3]
    add(store, 2)
    assert find(store, *range(4)) == [0, 1, 2, 3]


def test_rows_that_changed_places_are_missed(store, find):
    add(store, 1, 2)
    path = rows_file(store)
    whole = path.read_bytes()
    path.write_bytes(whole[:HEADER] + whole[HEADER + STRIDE :] + whole[HEADER : HEADER + STRIDE])
    assert find(store, 1, 2) == []
    add(store, 1, 2)
    assert find(store, 1, 2) == [1, 2]


def test_rows_of_another_owner_under_this_one_s_name(store, find):
    add(store, 1)
    path = rows_file(store)
    store.add("other", [key(1)], rows_of([7]))
    (other,) = (file for file in rows_files(store) if file != path)
    shutil.copy(other, path)
    assert find(store, 1) == []
    add(store, 1)
    assert find(store, 1) == [1]


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(5000)])
def test_a_foreign_file_in_the_place_of_rows(store, find, content):
    add(store, 1)
    rows_file(store).write_bytes(content)
    assert find(store, 1) == []
    add(store, 1)
    assert find(store, 1) == [1]
    assert rows_file(store).stat().st_size == HEADER + STRIDE


def test_a_folder_in_the_place_of_rows(store, find):
    add(store, 1)
    path = rows_file(store)
    path.unlink()
    path.mkdir()
    assert find(store, 1) == []
    add(store, 1)
    assert find(store, 1) == []  # the index takes the folder for the file: time, not a result
    path.rmdir()
    add(store, 1)
    assert find(store, 1) == [1]


def test_a_missing_rows_file(store, find):
    add(store, *range(5))
    rows_file(store).unlink()
    assert find(store, *range(5)) == []
    add(store, *range(5))
    assert find(store, *range(5)) == [0, 1, 2, 3, 4]


# Damage to the index.


def test_a_lost_index_is_made_from_the_rows(store, find):
    add(store, *range(300))
    for path in sqlite_files(store):
        path.unlink()
    assert find(store, *range(301)) == list(range(300))
    assert (store.folder / "index.sqlite").exists()


def test_rows_that_never_reached_the_index_are_entered(store, find):
    add(store, *range(5))
    kept = {path: path.read_bytes() for path in sqlite_files(store)}
    add(store, *range(5, 12))
    for path in sqlite_files(store):
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    assert find(store, *range(12)) == list(range(12))


def truncated(data):
    return data[: len(data) // 2]


def noise(data):
    return os.urandom(len(data))


def noise_within(data):
    return data[:4096] + os.urandom(len(data) - 4096)


def header_alone(data):
    return data[:100]


@pytest.mark.parametrize("damage", [truncated, noise, noise_within, header_alone, lambda data: b""])
def test_a_damaged_index_is_made_anew(store, find, damage):
    add(store, *range(500))
    path = store.folder / "index.sqlite"
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(3):
        assert find(store, *range(500)) == list(range(500))
        add(store, *range(500))
    assert rows_file(store).stat().st_size == HEADER + 500 * STRIDE


def test_every_damaged_byte_of_the_index_is_survived(store, find):
    add(store, *range(20))
    path = store.folder / "index.sqlite"
    whole = path.read_bytes()
    for place in range(0, len(whole), 61):
        for other in sqlite_files(store):
            other.unlink()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        find(store, *range(20))  # asserts that what is found is right
        add(store, *range(20))
        find(store, *range(20))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rows SET number = number + 1",
        "UPDATE rows SET number = -3",
        "UPDATE rows SET number = 'seven'",
        "UPDATE rows SET file = 99",
        "UPDATE files SET rows = 'many'",
        "UPDATE files SET rows = -5",
        "UPDATE files SET name = x'00ff'",
        "DROP TABLE rows",
        "ALTER TABLE rows RENAME COLUMN key TO clef",
        "CREATE TABLE others (x)",
    ],
)
def test_an_index_that_tells_stories(store, find, damage):
    add(store, *range(5))
    with contextlib.closing(sqlite3.connect(store.folder / "index.sqlite")) as db, db:
        db.execute(damage)
    for _ in range(2):
        found = find(store, *range(5))
        add(store, *(number for number in range(5) if number not in found))
    assert find(store, *range(5)) == [0, 1, 2, 3, 4]


def test_a_write_ahead_log_of_another_life(store, find):
    add(store, 1)
    for suffix in ("-wal", "-shm"):
        (store.folder / f"index.sqlite{suffix}").write_bytes(os.urandom(40_000))
    assert find(store, 1) == [1]
    add(store, 2)
    assert find(store, 1, 2) == [1, 2]


def test_an_index_that_is_locked_or_a_folder_is_done_without(store, find, monkeypatch):
    monkeypatch.setattr("transfer_core.cache.database.PATIENCE_S", 0.01)
    add(store, 1)
    with contextlib.closing(sqlite3.connect(store.folder / "index.sqlite", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        add(store, 2)
        assert find(store, 1, 2) == [1, 2]
    for path in sqlite_files(store):
        path.unlink()
    (store.folder / "index.sqlite").mkdir()
    add(store, 2, 3)
    assert find(store, 1, 2, 3) == [1, 2, 3]
    assert rows_file(store).stat().st_size == HEADER + 3 * STRIDE


def test_a_locked_index_does_not_stop_writing(store, find):
    add(store, 1)
    with contextlib.closing(sqlite3.connect(store.folder / "index.sqlite", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        add(store, 2)  # returns, although the lock is never released
    assert find(store, 1, 2) == [1, 2]
    assert rows_file(store).stat().st_size == HEADER + 2 * STRIDE


# Places that can't be used.


@pytest.mark.parametrize("place", ["/proc/transfer", "/dev/null/transfer", "/dev/null"])
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


def give_up_privileges():
    if os.getuid() == 0:
        os.seteuid(65534)


def test_a_read_only_folder_is_read(public_folder, find):
    store = RowStore(public_folder)
    add(store, 1)
    for path in public_folder.iterdir():
        path.chmod(0o444)
    public_folder.chmod(0o555)
    give_up_privileges()
    add(store, 2)
    assert find(store, 1, 2) == [1]


def test_a_file_that_may_not_be_read(public_folder, find):
    store = RowStore(public_folder)
    add(store, 1)
    rows_file(store).chmod(0)
    public_folder.chmod(0o555)
    give_up_privileges()
    assert find(store, 1) == []
    os.seteuid(os.getuid())
    rows_file(store).chmod(0o644)
    assert find(store, 1) == [1]


@pytest.mark.parametrize("largest", [HEADER // 2, HEADER + 30 * STRIDE + 7])
def test_a_full_disk(store, find, writer, largest):
    """A limit on the size of files is as good as a full disk, and needs no rights: writes become short."""
    process = writer(store, 0, 4, largest)
    assert process.communicate(timeout=60)[0].split() == ["0", "20", "40", "60"]
    assert process.returncode == 0
    kept = find(store, *range(80))
    assert kept == list(range((largest - HEADER) // STRIDE if largest > HEADER else 0))
    add(store, *range(80))
    assert find(store, *range(80)) == list(range(80))


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        # Without root's rights there is no such disk; the folder has no room at all.
        place.chmod(0o555)
    yield place
    if mounted.returncode == 0:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_keeps_what_it_has(small_disk, find):
    store = RowStore(small_disk / "features")
    kept = []
    for start in range(0, 6000, 400):
        add(store, *range(start, start + 400))
        now = find(store, *range(6000))
        assert set(kept) <= set(now)
        kept = now
    assert len(kept) < 6000


# Several processes.


def test_two_processes_write_at_once(store, find, writer):
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
    told = [0, *map(int, process.communicate()[0].splitlines())]
    assert process.returncode == -signal.SIGKILL
    numbers = range(told[-1] + 2000)
    found = find(store, *numbers)
    assert found == list(range(len(found)))
    assert told[-1] + 20 <= len(found) <= told[-1] + 40
    add(store, 1_000_000)
    assert find(store, 1_000_000) == [1_000_000]


def test_a_writer_that_sleeps_holds_nobody_up(store, find, writer):
    process = writer(store, 0, 100_000)
    assert process.stdout.readline() == "0\n"
    process.send_signal(signal.SIGSTOP)
    add(store, 1_000_000)
    assert find(store, *range(10), 1_000_000) == [*range(10), 1_000_000]
    process.kill()
    process.communicate()


# Eviction.


def test_what_was_used_least_recently_makes_room(store, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "1.2MB")
    store = RowStore(store.folder)
    keys, rows = [key(number) for number in range(300)], rows_of(range(300), 256)
    for age, owner in enumerate(["third", "second", "first"]):
        store.add(owner, keys, rows)
        for path in Layout.of(owner, rows).files(store.folder).values():
            os.utime(path, (time.time() - 100 + age,) * 2)
    store.read("third", keys[:1], rows[:1].copy())
    store.add("fourth", keys, rows)
    owners = ["first", "second", "third", "fourth"]
    known = [owner for owner in owners if store.read(owner, keys, rows.copy()).any()]
    assert known == ["first", "third", "fourth"]
    assert sum(path.stat().st_size for path in store.folder.iterdir()) <= 1_200_000


def test_the_rows_of_an_owner_are_in_several_files_and_the_oldest_go_first(store, find, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "400 kB")
    store = RowStore(store.folder)
    for start in range(0, 6000, 500):
        add(store, *range(start, start + 500))
        for path in rows_files(store):
            os.utime(path, ns=(path.stat().st_mtime_ns - 10**9,) * 2)
    found = find(store, *range(6000))
    assert 500 <= len(found) < 6000
    assert found == list(range(6000 - len(found), 6000))


def test_no_room_at_all(store, find, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "0")
    add(RowStore(store.folder), 1)
    assert find(store, 1) == []


def test_a_limit_that_is_none(monkeypatch, store):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "10 apples")
    with pytest.raises(ConfigurationError) as error:
        RowStore(store.folder)
    assert str(error.value) == 'TRANSFER_CACHE_LIMIT is a size such as 10GB or "none", got "10 apples"'


# Size.


def test_what_is_read_is_in_memory_once(store, tmp_path):
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
known = RowStore(Path({str(store.folder)!r})).read({OWNER!r}, [f"{{i:064x}}" for i in range(count)], into)
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
