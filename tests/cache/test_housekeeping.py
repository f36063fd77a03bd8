"""`transfer cache`: statistics, verification and eviction, and what they leave alone."""

import contextlib
import os
import sqlite3
import time

import numpy as np
import pytest

from cache.store_writer import OWNER, WIDTH, add, key, rows_of
from transfer_core import cache
from transfer_core.cache import RowStore
from transfer_core.cache.digests import Seen, remember
from transfer_core.runtime import paths


def run_sql(store, *statements):
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        return [db.execute(statement).fetchall() for statement in statements][-1]


def age(store, seconds):
    """Make what is stored now older."""
    run_sql(store, f"UPDATE batches SET used_at = used_at - {seconds}")


@pytest.fixture
def foreign(home):
    """Files of another program in the same folder."""
    (home / "cache" / "thumbnails").mkdir(parents=True)
    files = [home / "cache" / "thumbnails" / "1.png", home / "cache" / "notes.txt"]
    for file in files:
        file.write_text("mine")
    return files


def test_an_empty_cache(home):
    empty = {"path": str(home / "cache"), "limit": 10**10, "bytes": 0, "parts": [], "runs": 0}
    assert cache.stats() == empty
    assert cache.verify() == {"rows": 0, "damaged": 0, "files": []}
    assert cache.prune() == {"freed": 0, "left": 0}
    assert cache.clear() == {"freed": 0, "left": 0}
    assert not home.exists()


def test_stats(store, home, foreign):
    add(store, *range(10))
    add(store, *range(5), width=WIDTH + 1)
    remember([Seen("/a", "stamp", "digest")])
    (home / "runs" / "1").mkdir(parents=True)
    (home / "runs" / "1" / "model.transfer").write_bytes(bytes(1000))
    found = cache.stats()
    features, digests = found["parts"]
    assert (features["name"], features["rows"], features["files"]) == ("features", 15, 1)
    assert features["bytes"] == store.path.stat().st_size
    assert features["used_at"] == pytest.approx(time.time(), abs=60)
    assert (digests["name"], digests["rows"], digests["files"]) == ("digests", None, 1)
    assert found["bytes"] == features["bytes"] + digests["bytes"]
    assert found["runs"] == 1000


def test_verify_deletes_damaged_rows_and_keeps_the_rest(store, find):
    add(store, *range(200))
    store.add("other", [key(1)], rows_of([1]))
    run_sql(store, "UPDATE rows SET content = zeroblob(length(content)) WHERE rowid IN (4, 78)")
    assert cache.verify() == {"rows": 199, "damaged": 2, "files": []}
    assert cache.verify() == {"rows": 199, "damaged": 0, "files": []}
    assert find(store, *range(200)) == [number for number in range(200) if number not in (3, 77)]


def test_verify_deletes_damaged_files(store, find):
    add(store, *range(500))
    remember([Seen("/a", "stamp", "digest")])
    for path in (store.path, paths.cache() / "digests.sqlite"):
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(9000))
    assert cache.verify()["files"] == ["digests.sqlite", "features.sqlite"]
    assert find(store, *range(500)) == []
    add(store, *range(50))
    assert find(store, *range(50)) == list(range(50))


def test_verify_while_another_process_writes(store, find, writer):
    process = writer(store, 0, 100_000)
    assert process.stdout.readline() == "0\n"
    assert cache.verify()["damaged"] == 0
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert find(store, *range(20)) == list(range(20))


def test_prune_evicts_the_least_recently_used_rows(store, foreign):
    for owner in ("oldest", "older", "newest"):
        if store.path.exists():
            age(store, 1000)
        store.add(owner, [key(number) for number in range(100)], np.zeros((100, 1000), np.float32))
    before = cache.stats()["bytes"]
    pruned = cache.prune(max_bytes=700_000)
    assert pruned["left"] == cache.stats()["bytes"] <= 700_000
    assert pruned["freed"] == before - pruned["left"]
    into = np.ones((1, 1000), np.float32)
    known = [owner for owner in ("oldest", "older", "newest") if store.read(owner, [key(1)], into).any()]
    assert known == ["newest"]
    assert all(file.exists() for file in foreign)


def test_rows_of_all_parts_are_evicted_by_age(store, find):
    thumbnails = RowStore(paths.cache() / "near_duplicates.sqlite")
    thumbnails.add(OWNER, [key(number) for number in range(300)], rows_of(range(300), 1000))
    age(thumbnails, 1000)
    store.add(OWNER, [key(number) for number in range(300)], rows_of(range(300), 1000))
    cache.prune(max_bytes=1_900_000)
    assert run_sql(thumbnails, "SELECT count(*) FROM rows") == [(0,)]
    assert run_sql(store, "SELECT count(*) FROM rows") == [(300,)]


def test_prune_deletes_what_was_not_used_for_long(store, find):
    store.add("old", [key(1)], rows_of([1]))
    age(store, 10 * 86400)
    add(store, 1)
    cache.prune(older_than_s=20 * 86400)
    assert run_sql(store, "SELECT count(*) FROM rows") == [(2,)]
    cache.prune(older_than_s=5 * 86400)
    assert run_sql(store, "SELECT count(*) FROM rows") == [(1,)]
    assert find(store, 1) == [1]


def test_what_is_read_counts_as_used(store, find):
    add(store, 1)
    age(store, 10 * 86400)
    assert find(store, 1) == [1]
    cache.prune(older_than_s=86400)
    assert find(store, 1) == [1]


def test_prune_keeps_to_the_limit(store, find, monkeypatch):
    add(store, 1)
    assert cache.prune()["freed"] == 0
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", "0")
    cache.prune()
    assert run_sql(store, "SELECT count(*) FROM rows") == [(0,)]
    monkeypatch.delenv("TRANSFER_CACHE_LIMIT")
    add(RowStore(store.path), 1)
    assert find(store, 1) == [1]


def test_prune_ends_where_a_file_is_locked(store, monkeypatch):
    monkeypatch.setattr("transfer_core.cache.database.PATIENCE_S", 0.01)
    add(store, 1)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        cache.prune(max_bytes=0)
    assert run_sql(store, "SELECT count(*) FROM rows") == [(1,)]


def test_clear_deletes_the_whole_cache_and_nothing_else(store, find, home, foreign):
    add(store, *range(10))
    remember([Seen("/a", "stamp", "digest")])
    (home / "runs").mkdir()
    before = cache.stats()["bytes"]
    assert cache.clear() == {"freed": before, "left": 0}
    assert sorted(path.name for path in (home / "cache").iterdir()) == ["notes.txt", "thumbnails"]
    assert all(file.exists() for file in foreign)
    assert (home / "runs").exists()
    add(store, 1)
    assert find(store, 1) == [1]


def test_clear_while_others_write(store, find, writer):
    process = writer(store, 0, 30)
    for _ in range(5):
        assert process.stdout.readline()
        cache.clear()
    assert process.wait(timeout=60) == 0
    process.communicate()
    find(store, *range(600))  # asserts that what is found is right
    add(store, *range(600))
    assert find(store, *range(600)) == list(range(600))
